/** A guest that writes a file of the host by semihosting, through updates and deaths of its VMM. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;
/** What the guest writes first. */
const SIZE = 10_000;
const QEMU = 'qemu-system-riscv64';
const HAS_QEMU = spawnSync(QEMU, ['--version']).status === 0;

let folder: string;
let path: string;
let vmm: VmmProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-semihosting-'));
  path = join(folder, 'file');
});
afterEach(async () => {
  expect(await vmm?.end()).toEqual(vmm && []);
  vmm = undefined;
  rmSync(folder, { recursive: true });
});

/** Numbers of the lines that the guest has appended. */
const lines = (): number[] => readFileSync(path).subarray(SIZE).toString().split('\n').slice(0, -1).map(Number);

const start = (...words: readonly string[]): VmmProcess => {
  vmm = new VmmProcess('semihosting', ...words);
  return vmm;
};
const config = (): string[] => ['-semihosting-config', `enable=on,arg=k,arg=${path}`];

describe('a guest that calls its host', () => {
  it('writes every line once, in order, while its VMM is replaced', async () => {
    const vmm = start(...config());
    await vmm.stats();
    const qmp = await vmm.monitor();
    for (const mode of ['exec', 'transfer']) {
      const before = (await vmm.stats()).lines!;
      const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
      await qmp.execute('live-update', { mode, probation: 0 });
      expect((await ended).data).toMatchObject({ status: 'completed' });
      expect((await vmm.stats()).lines).toBeGreaterThan(before);
    }
    qmp.close();
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([42, null]);
    expect(vmm.output).toMatch(/^semihosting works\n/);
    const written = lines();
    expect(written.findIndex((line, i) => line !== i)).toBe(-1);
  });

  it('goes on when its VMM was killed, and at most one call is made twice', async () => {
    const vmm = start('--guardian', 'always', ...config());
    await vmm.stats();
    const qmp = await vmm.monitor();
    await standingGuardian(qmp, TIMEOUT_MS);
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(vmm.pid, 'SIGKILL');
    const { doubts = [] } = (await taken).data as { doubts?: string[] };
    const { lines: count } = await vmm.stats();
    qmp.close();
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([42, null]);
    const written = lines();
    expect([...new Set(written)]).toEqual(Array.from({ length: new Set(written).size }, (_, i) => i));
    expect(written.length - new Set(written).size).toBeLessThanOrEqual(doubts.length);
    expect(written.length).toBeGreaterThanOrEqual(count!);
  });

  it('may not without the option: its EBREAK is a breakpoint', async () => {
    const vmm = start();
    await vmm.prints(/trap: mcause 3 /);
  });

  it.each([
    [['-semihosting-config', 'enable=on,gdb=x'], "'gdb' is not known"],
    [['-semihosting-config', 'target=gdb'], 'target=gdb is not known; there are native, auto'],
  ])('is refused %j', async (words, error) => {
    const vmm = start(...words);
    expect(await vmm.exited).toEqual([1, null]);
    expect(vmm.errors).toContain(error);
  });

  it.runIf(HAS_QEMU)('finds the same on QEMU', () => {
    const words = ['-M', 'virt', '-bios', 'none', '-kernel', guestPath('semihosting'), '-display', 'none'];
    const { status } = spawnSync(QEMU, [...words, '-monitor', 'none', '-serial', 'stdio', ...config()], {
      input: 'x',
      timeout: TIMEOUT_MS,
    });
    expect(status).toBe(42);
  });
});
