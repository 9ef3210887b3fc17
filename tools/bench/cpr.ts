/**
 * Bench of updates beside QEMU's cpr-exec and cpr-transfer: the longest time in which one and the
 * same guest, which speaks all the time, is silent. Neither machine has devices.
 */
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import { liveUpdate } from '../clients/live-update.ts';
import { hasCprExec, qemuVersion } from '../demo/qemu/command.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest } from './busy-guest.ts';
import { QemuCpr } from './qemu-cpr.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 7;
/** Speech before and after an update. */
const AROUND_MS = 300;

/** When a guest was heard. */
class Ear {
  #lastMs = performance.now();
  #longestMs = 0;

  listen = (stdout: Readable): void => {
    stdout.on('data', () => {
      const now = performance.now();
      this.#longestMs = Math.max(this.#longestMs, now - this.#lastMs);
      this.#lastMs = now;
    });
  };

  /** The longest silence around and during `work`. */
  async longestMs(work: () => Promise<unknown>): Promise<number> {
    await sleep(AROUND_MS);
    this.#longestMs = 0;
    await work();
    await sleep(AROUND_MS);
    return this.#longestMs;
  }
}

interface Silences {
  readonly ours: { readonly exec: number[]; readonly transfer: number[] };
  readonly qemu: { readonly exec: number[]; readonly transfer: number[] };
}

async function measure(folder: string, progress: Progress): Promise<Silences> {
  const kernel = busyGuest(folder, 'speaking');
  const [ears, silences] = [
    { ours: new Ear(), qemu: new Ear() },
    { ours: none(), qemu: none() },
  ];
  const machine = await Machine.start({ devices: [], memory: '64M', kernel });
  ears.ours.listen(machine.vmm.stdout);
  const { qmp } = machine;
  let qemu: QemuCpr | undefined;
  try {
    await qmp.execute('stop');
    qemu = await QemuCpr.start(folder, kernel, ears.qemu.listen);
    const other = qemu;
    await other.setRunning(false);
    for (let round = 0; round < ROUNDS; round++) {
      await progress(`livevmm, round ${round + 1} of ${ROUNDS}`);
      await qmp.execute('cont');
      silences.ours.exec.push(await ears.ours.longestMs(() => liveUpdate(qmp, { probationMs: 0 })));
      silences.ours.transfer.push(
        await ears.ours.longestMs(() => liveUpdate(qmp, { mode: 'transfer', probationMs: 0 })),
      );
      await qmp.execute('stop');
      await progress(`QEMU, round ${round + 1} of ${ROUNDS}`);
      await other.setRunning(true);
      silences.qemu.exec.push(await ears.qemu.longestMs(() => other.exec()));
      silences.qemu.transfer.push(await ears.qemu.longestMs(() => other.transfer()));
      await other.setRunning(false);
    }
    return silences;
  } finally {
    await qemu?.stop();
    await machine.stop();
  }
}

const none = (): Silences['ours'] => ({ exec: [], transfer: [] });

export async function benchCpr(progress: Progress): Promise<Figure[]> {
  if (!hasCprExec(qemuVersion())) {
    process.stderr.write('livevmm: bench cpr: there is no QEMU from 10.2 on (LIVEVMM_QEMU_RISCV64)\n');
    return [];
  }
  const folder = new PrivateFolder();
  try {
    const { ours, qemu } = await measure(folder.path, progress);
    const figure = (what: string, values: readonly number[]): Figure => ({ what, value: median(values), unit: 'ms' });
    const ratios = (way: 'exec' | 'transfer'): number => median(ours[way].map((each, i) => each / qemu[way][i]!));
    return [
      figure('silence of a guest, update by exec', ours.exec),
      figure('silence of a guest, QEMU’s cpr-exec', qemu.exec),
      { what: 'update by exec / cpr-exec', value: ratios('exec'), unit: '×', atMost: 0.8 },
      figure('silence of a guest, update by transfer', ours.transfer),
      figure('silence of a guest, QEMU’s cpr-transfer', qemu.transfer),
      { what: 'update by transfer / cpr-transfer', value: ratios('transfer'), unit: '×', atMost: 1 },
    ];
  } finally {
    await folder.remove();
  }
}
