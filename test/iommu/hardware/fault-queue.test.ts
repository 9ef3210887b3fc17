import type { Worker } from 'node:worker_threads';

import { describe, expect, it } from 'vitest';

import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { startWorker } from '../../../platform/thread.ts';
import type { FaultWorkerData } from './fault-worker.ts';
import { Machine } from './machine.ts';

const FQEN_FIE = 3;
const FQON = 1 << 16;
const FQMF = 1 << 8;
const FQOF = 1 << 9;

/** A machine that refuses everything with cause 256. */
function closed(entries: number): Machine {
  const machine = new Machine();
  machine.setFaultQueue(entries);
  return machine;
}

const finished = (worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });

describe('a full fault queue', () => {
  it('of 4 entries holds 3 records, then sets fqof and records nothing until that is cleared', () => {
    const machine = closed(4);
    const port = machine.port();
    for (let i = 0; i < 5; i++) port.read(i, 0, 4);

    expect(machine.unit.read32(REG.fqcsr)).toBe(FQON | FQOF | FQEN_FIE);
    expect(machine.faults().map((f) => f.iotval)).toEqual([0n, 0x1000n, 0x2000n]);
    port.read(5, 0, 4);
    expect(machine.faults()).toEqual([]);
    machine.unit.write32(REG.fqcsr, FQOF | FQEN_FIE);
    port.read(6, 0, 4);

    expect(machine.faults().map((f) => f.iotval)).toEqual([0x6000n]);
    expect(machine.unit.counts()).toEqual({ faultsRecorded: 4, faultsDiscarded: 3 });
    expect(port.counts().faults).toBe(7);
  });

  it('keeps its interrupt pending as long as fqof is set', () => {
    const machine = closed(2);
    const port = machine.port();
    port.read(0, 0, 4);
    port.read(0, 0, 4);
    machine.faults();
    machine.unit.write32(REG.ipsr, 2);
    expect(machine.unit.read32(REG.ipsr)).toBe(2);

    machine.unit.write32(REG.fqcsr, FQOF | FQEN_FIE);
    machine.unit.write32(REG.ipsr, 2);

    expect(machine.unit.read32(REG.ipsr)).toBe(0);
    expect(machine.wires).toEqual(['fq', 'fq']);
  });
});

describe('the fault queue', () => {
  it('sets fqmf when it lies in no memory', () => {
    const machine = new Machine();
    machine.unit.write32(REG.fqcsr, 0);
    machine.unit.writeRegister(REG.fqb, 8, (0x700000n << 10n) | 3n);
    machine.unit.write32(REG.fqcsr, FQEN_FIE);

    machine.port().read(0, 0, 4);

    expect(machine.unit.read32(REG.fqcsr)).toBe(FQON | FQMF | FQEN_FIE);
    expect(machine.wires).toEqual(['fq']);
  });

  it('records nothing while it is off; the refusal is counted', () => {
    const machine = new Machine();
    machine.unit.write32(REG.fqcsr, 0);
    const port = machine.port();

    port.read(0, 0, 4);

    expect(port.counts().faults).toBe(1);
    expect(machine.unit.counts()).toEqual({ faultsRecorded: 0, faultsDiscarded: 1 });
    expect(machine.unit.read32(REG.fqt)).toBe(0);
  });

  it('says who did what where', () => {
    const machine = new Machine();

    machine.port(1, 0x1234).write(0x8_0000_0001, 0x123, Uint8Array.of(1));

    expect(machine.faults()).toEqual([{ cause: 256, ttyp: 3, did: 0x1234, iotval: 0x800000001123n, iotval2: 0n }]);
  });

  it('takes the faults of several threads at once: every one recorded whole or counted', async () => {
    const machine = closed(64);
    const each = 600;
    const counters = [0, 1, 2].map(() => createPortCounters());
    const workers = counters.map((block, agent) =>
      startWorker<FaultWorkerData>(
        'test/iommu/hardware/fault-worker',
        { unit: machine.unitMemory, ranges: machine.ranges, agent, did: agent + 1, count: each, counters: block },
        { name: `faults ${agent}` },
      ),
    );
    const seen: { did: number; iotval: bigint; cause: number }[] = [];
    const handle = (): void => {
      machine.unit.write32(REG.ipsr, 2);
      seen.push(...machine.faults());
      machine.unit.write32(REG.fqcsr, FQOF | FQEN_FIE);
    };
    for (const worker of workers) worker.on('message', handle);
    await Promise.all(workers.map(finished));
    handle();

    const { faultsRecorded, faultsDiscarded } = machine.unit.counts();
    expect(seen.length).toBe(faultsRecorded);
    expect(faultsRecorded + faultsDiscarded).toBe(3 * each);
    expect(counters.map((block) => readPortCounters(block).faults)).toEqual([each, each, each]);
    // Whole: cause, did and iotval belong together; in order: each thread's addresses grow.
    for (const did of [1, 2, 3]) {
      const mine = seen.filter((f) => f.did === did).map((f) => Number(f.iotval / 4096n) - did * 1_000_000);
      expect(mine.every((n, i) => n >= 0 && n < each && (i === 0 || n > mine[i - 1]!))).toBe(true);
    }
    expect(seen.every((f) => f.cause === 256 && f.did >= 1 && f.did <= 3)).toBe(true);
  });
});
