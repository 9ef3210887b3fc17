/**
 * Bench of a stock Linux: from the command to its shell, and QEMU's TCG with the same kernel and
 * initial RAM disk, each with its own firmware; and at rest (linux-at-rest.ts).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { CommandError } from '../cli/command.ts';
import { QEMU, qemuVersion } from '../demo/qemu/command.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { programArgv } from '../launch/programs.ts';
import { benchLinuxAtRest } from './linux-at-rest.ts';
import { type LinuxGuest, linuxGuest, MARK } from './linux-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 3;
const MOST_MS = 300_000;

/** Milliseconds from the spawn of a command until it has printed MARK. It has ended then. */
async function markMs([command, ...args]: readonly string[]): Promise<number> {
  const start = performance.now();
  const child = spawn(command!, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = once(child, 'close');
  const marked = new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      if (text.includes(MARK)) resolve(performance.now() - start);
    });
    child.on('error', reject);
    child.on('close', () => reject(new CommandError(`Linux has ended before its shell: ${text.trim().slice(-200)}`)));
  });
  const late = new AbortController();
  try {
    const timeout = sleep(MOST_MS, undefined, { signal: late.signal }).then(() => {
      throw new CommandError(`Linux has no shell after ${MOST_MS / 1000} s`);
    });
    timeout.catch(() => {}); // aborted
    return await Promise.race([marked, timeout]);
  } finally {
    late.abort();
    child.kill('SIGKILL');
    await ended;
  }
}

async function benchBoot({ kernel, options }: LinuxGuest, progress: Progress): Promise<Figure[]> {
  const guest = ['-m', '512M', '-kernel', kernel, ...options];
  const ours = programArgv('vmm', '-machine', 'virt,aia=none', ...guest);
  const serial = ['-nodefaults', '-display', 'none', '-serial', 'stdio', '-monitor', 'none'];
  const qemus = [...QEMU, '-machine', 'virt', ...serial, ...guest];
  const hasQemu = qemuVersion() !== undefined;
  if (!hasQemu) process.stderr.write('livevmm: bench linux: there is no QEMU (LIVEVMM_QEMU_RISCV64)\n');
  const here: number[] = [];
  const there: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await progress(`a boot: round ${round} of ${ROUNDS}`);
    here.push(await markMs(ours));
    if (hasQemu) there.push(await markMs(qemus));
  }
  const boot: Figure = { what: 'linux: from the command to its shell', value: median(here), unit: 'ms' };
  if (!hasQemu) return [boot];
  const ratio = median(here.map((ms, i) => ms / there[i]!));
  return [boot, { what: 'linux: time to its shell / QEMU’s', value: ratio, unit: '', atMost: 3 }];
}

export async function benchLinux(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const guest = linuxGuest(folder.path);
    if (!guest) return [];
    return [...(await benchBoot(guest, progress)), ...(await benchLinuxAtRest(guest, folder.path, progress))];
  } finally {
    await folder.remove();
  }
}
