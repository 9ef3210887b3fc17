import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { GuestConsole } from '../../../tools/launch/guest-console.ts';
import { guestPath } from '../../../tools/launch/programs.ts';
import { Sandbox } from '../livevmm-process.ts';

/** `livevmm state` as a user runs it: of a file, of two files, and of a VMM that runs. */

const frozen = fileURLToPath(new URL('../../vmm/live-update/frozen-0.1.0.state', import.meta.url));

let sandbox: Sandbox;
let file: string;

beforeEach(() => {
  sandbox = new Sandbox();
  file = join(sandbox.dir, 'a.state');
  copyFileSync(frozen, file);
});

afterEach(() => {
  expect(sandbox.leftovers()).toEqual([]);
  sandbox.remove();
});

/** Another file, with one byte behind `place` changed. */
function damaged(place: string): string {
  const bytes = readFileSync(file);
  bytes[bytes.indexOf(place)]! ^= 1;
  const path = join(sandbox.dir, 'damaged.state');
  writeFileSync(path, bytes);
  return path;
}

describe('livevmm state', () => {
  it('shows a file, and one that is damaged up to the damage', async () => {
    const shown = await sandbox.run('state', file);
    expect(shown).toMatchObject({ status: 0, stderr: '' });
    expect(shown.stdout).toMatch(/^section clint: version 1, 51 bytes, checksum ok, this build reads it$/m);
    const path = damaged('mtimecmp');
    const upTo = await sandbox.run('state', path);
    expect(upTo).toMatchObject({ status: 1, stderr: `livevmm: ${path}: section clint: checksum does not match\n` });
    expect(upTo.stdout).toMatch(/^section hart: /m);
    expect(upTo.stdout).not.toMatch(/^section clint/m);
    const { damage, sections } = JSON.parse((await sandbox.run('state', path, '--json')).stdout);
    expect([damage, sections.length]).toEqual(['section clint: checksum does not match', 4]);
  });

  it('compares two files: 0 for the same, 1 for others', async () => {
    expect(await sandbox.run('state', 'diff', file, frozen)).toEqual({ status: 0, stdout: '', stderr: '' });
    const same = await sandbox.run('state', 'diff', file, frozen, '--json');
    expect(JSON.parse(same.stdout)).toEqual({ same: true, sections: [] });
    const path = damaged('mtimecmp');
    expect(await sandbox.run('state', 'diff', file, path)).toEqual({
      status: 1,
      stdout: '',
      stderr: `livevmm: ${path}: section clint: checksum does not match\n`,
    });
  });

  it.each([
    ['a file that is not there', ['/nowhere/a.state'], 1, /no such file/],
    ['another file', ['/proc/self/stat'], 1, /^livevmm: \/proc\/self\/stat: not the state of a livevmm\n$/],
    ['an empty file to compare', ['diff', '/dev/null', frozen], 1, /^livevmm: \/dev\/null: not the state/],
    ['three files to compare', ['diff', frozen, frozen, frozen], 2, /give two files/],
    ['one file to compare', ['diff', frozen], 2, /give two files/],
    ['two files to show', [frozen, frozen], 2, /give one file/],
    ['a file and a VMM', [frozen, '--qmp', '/tmp/x'], 2, /not for a file/],
    ['no VMM', [], 1, /no running VMM found/],
  ])('refuses %s in one line', async (_, words, status, reason) => {
    const ended = await sandbox.run('state', ...words);
    expect(ended).toMatchObject({ status, stdout: '' });
    expect(ended.stderr).toMatch(/^livevmm: [^\n]+\n$/);
    expect(ended.stderr).toMatch(reason);
  });

  it('asks a running VMM, whose guest goes on', async () => {
    const run = sandbox.start('run', '--kernel', guestPath('demo'), '--device', 'capture');
    const guest = new GuestConsole(run.stdout, run.stdin);
    await guest.greeting;
    const before = (await guest.stats(5000)).heartbeats;
    const [a, b] = [join(sandbox.dir, '1.state'), join(sandbox.dir, '2.state')];
    expect(await sandbox.run('state', '--output', a)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect((await guest.stats(5000)).heartbeats).toBeGreaterThan(before);
    expect(await sandbox.run('state', '--output', b)).toMatchObject({ status: 0 });

    const changes = await sandbox.run('state', 'diff', a, b);
    expect(changes).toMatchObject({ status: 1, stderr: '' });
    expect(changes.stdout).toMatch(/^section clint: version 1\n {2}mtime: 0x[0-9a-f]+ → 0x[0-9a-f]+$/m);
    expect(changes.stdout).not.toMatch(/^section (vm|ram|vfio)/m);

    const { sections } = JSON.parse((await sandbox.run('state', '--json')).stdout);
    const names = sections.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['vm', 'ram', 'vfio', 'hart', 'pci']));
    expect(names).not.toContain('update');
    expect(sections.every(({ reading }: { reading: string }) => reading === 'same')).toBe(true);
    expect((await guest.stats(5000)).framesLost).toBe(0);
    expect(await sandbox.run('update')).toMatchObject({ status: 0 });
    expect(await run.stop(60_000)).toEqual({ status: 143, signal: null });
  });
});
