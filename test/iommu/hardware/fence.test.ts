import type { Worker } from 'node:worker_threads';

import { afterEach, describe, expect, it } from 'vitest';

import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { startWorker } from '../../../platform/thread.ts';
import type { DmaWorkerData } from './dma-worker.ts';
import { atp, GVMA_ALL, IOFENCE, Machine, RAM_PFN } from './machine.ts';

const PAGES = 16;
const CANARY = 0xa5;
const INTACT = new Uint8Array(4096).fill(CANARY);
const SV39X4 = { levels: 3, x4: true };
/** Unmapped pages that are watched at a time. */
const WATCHED = 4;

/** What follows the clearing of a page table entry. */
const FLUSHES = {
  'IOTINVAL and IOFENCE.C': [GVMA_ALL, IOFENCE],
  'IOTINVAL only': [GVMA_ALL],
  'IOFENCE.C only': [IOFENCE],
} as const;

class Bench {
  readonly machine = new Machine();
  readonly counters = [createPortCounters(), createPortCounters()];
  readonly #control = new SharedArrayBuffer(4);
  readonly #root: number;
  readonly #workers: Worker[] = [];

  constructor() {
    const { machine } = this;
    this.#root = machine.page(4);
    machine.enable();
    for (const did of [1, 2]) machine.setContext({ iohgatp: atp(8, this.#root, 1) }, did);
    for (let page = 0; page < PAGES; page++) this.remap(page);
  }

  async start(): Promise<void> {
    const { machine, counters } = this;
    counters.forEach((block, agent) => {
      const data = { unit: machine.unitMemory, ranges: machine.ranges, agent, did: agent + 1, counters: block };
      this.#workers.push(
        startWorker<DmaWorkerData>(
          'test/iommu/hardware/dma-worker',
          { ...data, control: this.#control },
          { name: 'dma' },
        ),
      );
    });
    await Promise.all(this.#workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
  }

  async stop(): Promise<void> {
    Atomics.store(new Int32Array(this.#control), 0, 1);
    await Promise.all(this.#workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  }

  remap(page: number): void {
    this.machine.map(this.#root, page, RAM_PFN + page, SV39X4);
  }

  unmap(page: number, flush: (typeof FLUSHES)[keyof typeof FLUSHES]): void {
    this.machine.map(this.#root, page, 0, { ...SV39X4, flags: 0 });
    this.machine.command(...flush);
  }

  bytes(page: number): Uint8Array {
    return new Uint8Array(this.machine.ram, page * 4096, 4096);
  }

  intact(page: number): boolean {
    return Buffer.compare(this.bytes(page), INTACT) === 0;
  }

  /**
   * Unmaps pages and watches them for `rounds`, or until a byte behind an unmapped page changes;
   * how many rounds were good.
   */
  watch(rounds: number, flush: (typeof FLUSHES)[keyof typeof FLUSHES]): number {
    const watched: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const page = (round * 11) % PAGES;
      this.unmap(page, flush);
      this.bytes(page).fill(CANARY);
      watched.push(page);
      if (!watched.every((p) => this.intact(p))) return round;
      if (watched.length === WATCHED) this.remap(watched.shift()!);
    }
    return rounds;
  }
}

describe('an unmap under running DMA (docs/DESIGN.md, "Invariants", 1)', () => {
  let bench: Bench;
  afterEach(() => bench.stop());

  it('with IOTINVAL and IOFENCE.C: no byte changes behind the page afterwards, and devices go on elsewhere', async () => {
    bench = new Bench();
    await bench.start();
    const before = bench.counters.map((block) => readPortCounters(block).bytesWritten);

    const good = bench.watch(150, FLUSHES['IOTINVAL and IOFENCE.C']);

    expect(good).toBe(150);
    const after = bench.counters.map((block) => readPortCounters(block));
    expect(after.every((c, i) => c.bytesWritten > before[i]! && c.invalidations > 0 && c.faults > 0)).toBe(true);
    expect(bench.machine.unit.read32(REG.cqcsr)).toBe(0x10003);
  });

  it.each(['IOTINVAL only', 'IOFENCE.C only'] as const)('mutant, %s: the canary tells', async (flush) => {
    bench = new Bench();
    await bench.start();

    const good = bench.watch(200_000, FLUSHES[flush]);

    expect(good).toBeLessThan(200_000);
  });
});
