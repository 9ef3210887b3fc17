import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  createDoorbellTable,
  createIntxLine,
  DoorbellTable,
  IntxLine,
  NR_VECTORS,
} from '../../../iommu/bus/interrupts.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdDrain, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { write } from '../../../platform/libc/file-bytes.ts';
import { startWorker } from '../../../platform/thread.ts';
import { ownerOf, sourceOf } from './eventfd-source.ts';
import { ASKED, DONE, type RingWork } from './ring-words.ts';

let fd: number;
let interrupts: SharedArrayBuffer;
beforeEach(() => {
  fd = eventfd(0, EFD_NONBLOCK);
  interrupts = createDoorbellTable();
});
afterEach(() => {
  close(fd);
  ownerOf(interrupts).dispose();
});

describe('DoorbellTable', () => {
  it('signals the eventfd of a vector and counts; without one it counts the loss', () => {
    const table = new DoorbellTable(interrupts);
    table.ring(9);
    table.setSource(9, sourceOf(interrupts, fd));
    table.ring(9);
    table.ring(9);
    table.setSource(9, -1);
    table.ring(9);

    expect(eventfdRead(fd)).toBe(2);
    expect([table.raised(9), table.dropped(9)]).toEqual([2, 2]);
  });

  it('counts data that is no vector', () => {
    const table = new DoorbellTable(interrupts);

    table.ring(NR_VECTORS);
    table.ring(0xffffffff);

    expect(table.stray()).toBe(2);
    expect(() => table.setSource(NR_VECTORS, 0)).toThrow(RangeError);
  });

  it('does not block on a blocking eventfd whose count is at its maximum', () => {
    const full = eventfd(0, EFD_CLOEXEC);
    write(full, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer));
    const table = new DoorbellTable(interrupts);
    table.setSource(1, sourceOf(interrupts, full));

    table.ring(1);

    expect(table.raised(1)).toBe(1);
    close(full);
  });
});

describe('a device worker that sends an MSI to a blocking eventfd', () => {
  const [PER_LOT, LOTS, VECTOR] = [1000, 40, 3];
  const blocking = eventfd(0, EFD_CLOEXEC);
  const lots = new Int32Array(new SharedArrayBuffer(8));
  let worker: Worker;
  afterEach(async () => {
    Atomics.store(lots, ASKED, -1);
    Atomics.notify(lots, ASKED);
    eventfdRead(blocking); // one that hangs goes on
    await once(worker, 'exit');
    close(blocking);
  });

  it('never waits, though the client fills it at any moment', () => {
    const source = sourceOf(interrupts, blocking);
    new DoorbellTable(interrupts).setSource(VECTOR, source);
    const work: RingWork = { interrupts, vector: VECTOR, perLot: PER_LOT, lots: lots.buffer as SharedArrayBuffer };
    worker = startWorker('test/iommu/bus/ring-worker', work, { name: 'ring' });

    const goesOn = (lot: number): boolean => {
      eventfdDrain(blocking);
      write(blocking, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen - BigInt(PER_LOT)]).buffer));
      Atomics.store(lots, ASKED, lot + 1);
      Atomics.notify(lots, ASKED);
      const deadline = performance.now() + 10_000; // it starts
      while (Atomics.load(lots, DONE) <= lot && performance.now() < deadline) ownerOf(interrupts).signal(source);
      return Atomics.load(lots, DONE) > lot;
    };
    let lot = 0;
    while (lot < LOTS && goesOn(lot)) lot++;

    expect(lot).toBe(LOTS);
    expect(new DoorbellTable(interrupts).raised(VECTOR)).toBe(PER_LOT * LOTS);
  }, 60_000);
});

describe('IntxLine (PCI-5)', () => {
  it('masks itself and signals once for a level, however long it lasts', () => {
    const line = new IntxLine(createIntxLine(), ownerOf(interrupts));
    line.setSource(sourceOf(interrupts, fd));

    line.assert();
    line.assert();

    expect(eventfdRead(fd)).toBe(1);
    expect(line.masked()).toBe(true);
  });

  it('fires again at unmask while the level is up, and not when it is down', () => {
    const line = new IntxLine(createIntxLine(), ownerOf(interrupts));
    line.setSource(sourceOf(interrupts, fd));
    line.assert();
    line.unmask();
    expect(eventfdRead(fd)).toBe(2);

    line.deassert();
    line.unmask();

    expect(eventfdRead(fd)).toBe(0);
    expect([line.masked(), line.raised()]).toEqual([false, 2]);
  });

  it('holds back while it is masked', () => {
    const line = new IntxLine(createIntxLine(), ownerOf(interrupts));
    line.setSource(sourceOf(interrupts, fd));
    line.mask();

    line.assert();
    const masked = eventfdRead(fd);
    line.unmask();

    expect([masked, eventfdRead(fd)]).toEqual([0, 1]);
  });

  it('tells an eventfd that comes late of a level that is already up', () => {
    const line = new IntxLine(createIntxLine(), ownerOf(interrupts));
    line.assert();
    expect(line.masked()).toBe(false);

    line.setSource(sourceOf(interrupts, fd));

    expect(eventfdRead(fd)).toBe(1);
  });

  it('fires for each rising edge when it is unmasked between', () => {
    const line = new IntxLine(createIntxLine(), ownerOf(interrupts));
    line.setSource(sourceOf(interrupts, fd));

    for (let i = 0; i < 3; i++) {
      line.assert();
      line.deassert();
      line.unmask();
    }

    expect(eventfdRead(fd)).toBe(3);
  });
});
