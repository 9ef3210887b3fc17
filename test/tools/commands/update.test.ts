import { cpSync, mkdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Child } from '../../../tools/launch/child.ts';
import { GuestConsole } from '../../../tools/launch/guest-console.ts';
import { guestPath, programPath } from '../../../tools/launch/programs.ts';
import { buildIn, patch } from '../../vmm/successors.ts';
import { Sandbox } from '../livevmm-process.ts';

/** `livevmm update` of a guest that somebody started with `livevmm run`. */

let sandbox: Sandbox;
let run: Child;
let guest: GuestConsole;

beforeEach(async () => {
  sandbox = new Sandbox();
  run = sandbox.start(
    'run',
    '--kernel',
    guestPath('demo'),
    '--device',
    'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff',
    '--device',
    'capture',
  );
  guest = new GuestConsole(run.stdout, run.stdin);
  await guest.greeting;
});

afterEach(async () => {
  expect(await run.stop()).toEqual({ status: 143, signal: null }); // and not killed
  expect(sandbox.leftovers()).toEqual([]);
  sandbox.remove();
});

const heartbeats = async (): Promise<number> => (await guest.stats(5000)).heartbeats;

describe('livevmm update', () => {
  it('finds the one VMM that runs, and says what the update cost', async () => {
    const before = await heartbeats();
    const { status, stdout, stderr } = await sandbox.run('update');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /^pid \d+ is now generation 1; guest RAM moved from 0x[0-9a-f]+ to 0x[0-9a-f]+\ntaken back .*\npause [\d.]+ ms: stop .*\nits threads took over /,
    );
    expect(await heartbeats()).toBeGreaterThan(before);
  });

  it('tells afterwards what the next one would cost, with --dry-run', async () => {
    const { pauseMs } = JSON.parse((await sandbox.run('update', '--json')).stdout);
    const { stdout, stderr } = await sandbox.run('update', '--dry-run', '--timeout', '120');
    expect(stderr).toBe('');
    expect(stdout).toContain(`\npause of the last update     ${pauseMs.toFixed(1)} ms`);
    expect(stdout).toMatch(/^pause of this update +about \d+ ms +estimated: as the last update$/m);
  });

  it('moves the guest to another built version', async () => {
    const installed = dirname(programPath('vmm'));
    const other = join(sandbox.dir, 'other');
    mkdirSync(other);
    cpSync(installed, join(other, 'dist'), { recursive: true });
    symlinkSync(fileURLToPath(new URL('../../../node_modules', import.meta.url)), join(other, 'node_modules'));
    const { stdout } = await sandbox.run('update', '--to', join(other, 'dist'), '--json');
    const { pid, generation } = JSON.parse(stdout) as { pid: number; generation: number };
    expect(generation).toBe(1);
    expect(commandLine(pid)).toContain(join(other, 'dist', 'vmm.cjs'));
    expect(await heartbeats()).toBeGreaterThan(0);
  });

  it.runIf(process.env.LIVEVMM_OTHER_NODE)('moves the guest onto another Node, and back', async () => {
    const there = await sandbox.run('update', '--node', process.env.LIVEVMM_OTHER_NODE!, '--json');
    const { pid } = JSON.parse(there.stdout) as { pid: number };
    expect(readlinkSync(`/proc/${pid}/exe`)).toBe(process.env.LIVEVMM_OTHER_NODE);
    const before = await heartbeats();
    const back = await sandbox.run('update', '--node', process.execPath, '--json');
    expect(JSON.parse(back.stdout)).toMatchObject({ pid, generation: 2 });
    expect(await heartbeats()).toBeGreaterThan(before);
  });

  it('fails with one line for a successor that cannot be, and the guest runs on', async () => {
    for (const [words, reason] of [
      [['--node', '/nowhere/node'], 'no such file'],
      [['--node', '/etc/passwd'], 'EACCES'],
      [['--node', '/bin/true'], 'does not answer: it ended with status 0'],
      [['--to', '/nowhere'], '/nowhere'],
    ] as const) {
      const before = await heartbeats();
      const ended = await sandbox.run('update', ...words);
      expect(ended.stderr).toMatch(/^livevmm: [^\n]+\n$/);
      expect(ended.stderr).toContain(reason);
      expect(ended).toMatchObject({ status: 1, stdout: '' });
      expect(await heartbeats()).toBeGreaterThan(before);
    }
    expect(await sandbox.run('update')).toMatchObject({ status: 0 });
  });

  it('only asks, with --dry-run', async () => {
    const asked = await sandbox.run('update', '--dry-run');
    expect(asked).toMatchObject({ status: 0, stderr: '' });
    expect(asked.stdout).toMatch(
      /^the new image would be livevmm \S+ on node v[\d.]+\nwhat +answer +why\nsection vm +same\n/,
    );
    expect(asked.stdout).toMatch(
      /^pause of this update +about \d+ ms +estimated: start and saving; without stop, invalidate, map, remap, load, resume/m,
    );
    const { stdout, ...ended } = await sandbox.run('update', '--dry-run', '--json');
    expect(ended).toEqual({ status: 0, stderr: '' });
    const { sections, cost } = JSON.parse(stdout);
    expect(cost).toMatchObject({ measured: { dmaRanges: 1 }, estimate: { from: 'preflight' } });
    expect(sections).toContainEqual({ name: 'vfio', verdict: 'same' });
    const other = buildIn(sandbox.dir);
    patch(other, ['vmm.code.cjs', 'vmm-snapshot.cjs'], /defineSection\("routes", 1/, 'defineSection("routes", 2');
    const refused = await sandbox.run('update', '--dry-run', '--to', other);
    expect(refused).toMatchObject({ status: 1, stderr: '' });
    expect(refused.stdout).toMatch(/^section routes +refused +section routes: version 1, this build knows 2$/m);
    // the first that was done
    expect((await sandbox.run('update', '--json')).stdout).toMatch(/"generation": 1,/);
  });
});

function commandLine(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
}
