/**
 * The lock of an image goes with the guest to whichever process runs it, and QEMU and we keep off
 * each other's images.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import { QEMU, qemuVersion } from '../../tools/demo/qemu/command.ts';
import { elfFile } from '../guest/elf-file.ts';
import { encode, jumpTo } from '../guest/riscv/encode.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const EVENT_MS = 60_000;
const START = 0x8000_0000;
/** A guest that sleeps. */
const SLEEPS = [encode('wfi'), jumpTo(encode('jal'), -4)];

let folder: string;
let file: string;
let guest: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-images-'));
  file = join(folder, 'disk.img');
  writeFileSync(file, Buffer.alloc(1 << 16));
  guest = join(folder, 'guest.elf');
  const bytes = new Uint8Array(Int32Array.from(SLEEPS).buffer);
  writeFileSync(guest, elfFile({ entry: START, loads: [{ paddr: START, bytes }] }));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Status and errors of another VMM that uses the image. */
async function another(): Promise<[number | null, string]> {
  const vmm = new VmmProcess('hello', '-drive', `file=${file}`);
  try {
    const [status] = await vmm.exited;
    return [status, vmm.errors];
  } finally {
    await vmm.end();
  }
}

it('is locked after updates and a death as before them, and free after the end', async () => {
  const refused = [1, expect.stringContaining(`${file}: Failed to get "write" lock`)];
  const vmm = new VmmProcess(guest, '-drive', `file=${file}`, '--guardian', 'always');
  try {
    const qmp = await vmm.monitor();
    expect(await another()).toEqual(refused);
    for (const mode of ['exec', 'transfer']) {
      const ended = qmp.nextEvent(updateEnded, EVENT_MS);
      await qmp.execute('live-update', { mode, probation: 0 });
      expect((await ended).data).toMatchObject({ status: 'completed' });
      expect(await another()).toEqual(refused);
    }
    await standingGuardian(qmp, EVENT_MS);
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', EVENT_MS);
    process.kill(vmm.pid, 'SIGKILL');
    await taken;
    expect(await another()).toEqual(refused);
    qmp.close();
  } finally {
    await vmm.end();
  }
  expect(await another()).toEqual([0, '']);
});

const ARGS = ['-M', 'virt', '-S', '-display', 'none', '-serial', 'none', '-bios', 'none', '-monitor', 'none'];
const hasQemu = qemuVersion() !== undefined;

it.runIf(hasQemu)('that QEMU writes is refused here, and one that we write is refused there', async () => {
  const [command, ...words] = [...QEMU, ...ARGS, '-drive', `file=${file},format=raw,if=none,id=d`];
  words.push('-device', 'virtio-blk-device,drive=d');
  const qemu = spawn(command!, [...words, '-qmp', 'stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(qemu.stdout, 'data'); // its greeting: the devices are there
    expect(await another()).toEqual([1, expect.stringContaining('Failed to get "write" lock')]);
  } finally {
    qemu.kill('SIGKILL');
    await once(qemu, 'exit');
  }
  const vmm = new VmmProcess(guest, '-drive', `file=${file}`);
  try {
    (await vmm.monitor()).close();
    const { status, stderr } = spawnSync(command!, words, { encoding: 'utf8' });
    expect([status, stderr]).toEqual([1, expect.stringContaining('Failed to get "write" lock')]);
  } finally {
    await vmm.end();
  }
});
