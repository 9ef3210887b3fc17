/** vmm/crew/vcpu/sleeper.ts with what wakes it: a device's worker, and threads of the VMM. */
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, type TestContext } from 'vitest';
import { InterruptPage, RUNS } from '../../../../iommu/abi/interrupt-page.ts';
import { createDoorbellTable, DoorbellTable } from '../../../../iommu/bus/interrupts.ts';
import { int32s, newPart, type SharedPart, wholeOf } from '../../../../platform/shared.ts';
import { startWorker } from '../../../../platform/thread.ts';
import { controlBytes, hartWords } from '../../../../vmm/machine/control/control-block.ts';
import { wakeHart } from '../../../../vmm/machine/control/lease.ts';
import type { SleeperInput } from './sleeper-worker.ts';

const ROUNDS = 3;
/** In this time a thread that is about to sleep does, on a machine that is not too busy. */
const SETTLE_MS = 30;

let worker: Worker | undefined;
afterEach(async () => {
  await worker?.terminate();
  worker = undefined;
});

interface Sleeping {
  readonly control: Int32Array;
  readonly page: SharedPart;
  /** Resolves when the thread sleeps, or is about to. */
  asleep(): Promise<void>;
  awake(): Promise<void>;
}

async function startSleeper(context: TestContext): Promise<Sleeping> {
  const control = newPart(controlBytes(1));
  const page = wholeOf(new SharedArrayBuffer(4096));
  worker = startWorker<SleeperInput>(
    'test/vmm/crew/vcpu/sleeper-worker',
    { control, page, rounds: ROUNDS },
    { name: 'sleeper' },
  );
  const [{ usable }] = (await once(worker, 'message')) as [{ readonly usable: boolean }];
  if (!usable) context.skip('no futex_waitv here');
  const words = int32s(control);
  return {
    control: words,
    page,
    asleep: async () => {
      while (Atomics.load(words, hartWords(0).outside) === 0) await setTimeout(1);
      await setTimeout(SETTLE_MS);
    },
    awake: async () => void (await once(worker!, 'message')),
  };
}

describe('a vCPU thread that sleeps on interrupt pages', () => {
  it('is woken by a device that posts an interrupt there', async (context) => {
    const { page, asleep, awake } = await startSleeper(context);
    const doorbell = new DoorbellTable(createDoorbellTable(), page.buffer);
    doorbell.setPage(5, page, 1);
    for (let round = 0; round < ROUNDS; round++) {
      await asleep();
      const woken = awake();
      doorbell.ring(5);
      await woken;
    }

    const words = int32s(page);
    expect([words[InterruptPage.word.thread], words[InterruptPage.word.counts + 1]]).toEqual([RUNS, ROUNDS]);
  });

  it('is woken by a thread of the VMM that has news', async (context) => {
    const { control, asleep, awake } = await startSleeper(context);
    for (let round = 0; round < ROUNDS; round++) {
      await asleep();
      const woken = awake();
      wakeHart(control, 0);
      await woken;
    }

    expect(Atomics.load(control, hartWords(0).outside)).toBe(0);
  });
});
