import { describe, expect, it } from 'vitest';

import { device as capture } from '../../../devices/capture/device.ts';
import * as regs from '../../../devices/capture/regs.ts';
import { Bench } from '../bench.ts';
import { checkFrame } from './frame-check.ts';

const MS = 1e6;
const RING = 0x8000_0000;
const INDEX = 0x9000_0000;
const MESSAGE = 0xfee0_0000;
const SIZE = 128;
const FRAMES = 4;
const RUN = regs.CTRL_RUN;
const STOP_WHEN_FULL = regs.CTRL_STOP_WHEN_FULL;
const IRQ_ENABLE = regs.CTRL_IRQ_ENABLE;

interface Programming {
  readonly ring?: number;
  readonly frames?: number;
  readonly frameSize?: number;
  readonly rate?: number;
  readonly irqEvery?: number;
  readonly index?: number;
}

/**
 * A device with a backed ring of 4 × 128 bytes at 1000 frames/s, unless told otherwise; not yet
 * running.
 */
function programmed(change: Programming = {}): Bench {
  const bench = new Bench(capture).ready();
  bench.memory.back(RING, RING + FRAMES * SIZE).back(INDEX, INDEX + 8);
  const { ring = RING, frames = FRAMES, frameSize = SIZE, rate = 1000, irqEvery = 0, index = INDEX } = change;
  bench.setReg(regs.REG.RING_LO, ring % 2 ** 32);
  bench.setReg(regs.REG.RING_HI, Math.floor(ring / 2 ** 32));
  bench.setReg(regs.REG.FRAMES, frames);
  bench.setReg(regs.REG.FRAME_SIZE, frameSize);
  bench.setReg(regs.REG.RATE, rate);
  bench.setReg(regs.REG.IRQ_EVERY, irqEvery);
  bench.setReg(regs.REG.INDEX_LO, index % 2 ** 32);
  bench.setReg(regs.REG.INDEX_HI, Math.floor(index / 2 ** 32));
  return bench;
}

const slot = (bench: Bench, n: number) => checkFrame(bench.memory.bytes(RING + n * SIZE, SIZE));

describe('identity', () => {
  it('is 1234:ca97, class 048000, one 4 KiB BAR, INTA, MSI', () => {
    const bench = new Bench(capture);
    bench.configWrite(0x10, 4, 0xffffffff);

    expect(bench.config(0x00, 4)).toBe(0xca971234);
    expect(bench.config(0x08, 4)).toBe(0x04800001);
    expect(bench.config(0x10, 4)).toBe(0xfffff000);
    expect(bench.config(0x3d, 1)).toBe(1);
    expect(bench.config(0x40, 4)).toBe(0x00800005);
  });

  it('registers are 32 bits: other accesses read 0 and are dropped', () => {
    const bench = programmed();

    bench.endpoint.write(0, regs.REG.FRAMES, 2, 9, 0);
    bench.endpoint.write(0, regs.REG.FRAMES, 8, 9, 9);

    expect(bench.reg(regs.REG.ID)).toBe(0xca970100);
    expect(bench.halves(regs.REG.ID, 8)).toEqual({ lo: 0, hi: 0 });
    expect(bench.halves(regs.REG.ID, 2)).toEqual({ lo: 0, hi: 0 });
    expect(bench.reg(regs.REG.FRAMES)).toBe(FRAMES);
    expect(bench.reg(0x48)).toBe(0);
  });
});

describe('frames', () => {
  it('lie in the ring one after the other, whole and checkable', () => {
    const bench = programmed();

    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(2.5 * MS);

    expect([0, 1, 2].map((n) => slot(bench, n))).toEqual(
      [0n, 1n, 2n].map((sequence) => ({
        magic: 0x4d415246,
        length: SIZE,
        sequence,
        timestampNs: 1_000_000_000n + sequence * 1_000_000n,
        crcOk: true,
        payloadOk: true,
      })),
    );
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(3);
    expect(bench.reg(regs.REG.BYTES_LO)).toBe(3 * SIZE);
    expect(bench.reg(regs.REG.STATUS)).toBe(regs.STATUS_RUNNING);
  });

  it('data comes first, then the write-back with DROPPED before the index, then the MSI', () => {
    const bench = programmed({ irqEvery: 1 });
    bench.enableMsi(MESSAGE, 3);

    bench.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);
    bench.advance(1 * MS);

    expect(bench.memory.log).toEqual([
      'write 0x80000000+0x80',
      'store 0x90000004=0x0',
      'store 0x90000000=0x1',
      'store 0xfee00000=0x3',
      'write 0x80000080+0x80',
      'store 0x90000000=0x2',
      'store 0xfee00000=0x3',
    ]);
  });

  it('are recorded in the timeline with their transactions and bytes', () => {
    const bench = programmed();

    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(1 * MS);

    expect(bench.timeline.entries).toEqual([
      { nowNs: 1e9, transactions: 3, bytes: SIZE },
      { nowNs: 1e9 + MS, transactions: 2, bytes: SIZE },
    ]);
  });

  it('need no write-back: index iova 0 means none', () => {
    const bench = programmed({ index: 0 });

    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(0);

    expect(bench.memory.log).toEqual(['write 0x80000000+0x80']);
  });

  it('start anew at RUN 0→1; what was programmed while running is ignored', () => {
    const bench = programmed();
    bench.setReg(regs.REG.CTRL, RUN);
    bench.setReg(regs.REG.FRAMES, 64);
    bench.setReg(regs.REG.RING_LO, 0);
    bench.advance(1.5 * MS);

    bench.setReg(regs.REG.CTRL, 0);
    bench.advance(5 * MS);
    const stopped = bench.reg(regs.REG.WRITE_INDEX);
    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(0);

    expect(stopped).toBe(2);
    expect(bench.reg(regs.REG.FRAMES)).toBe(FRAMES);
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(1);
    expect(slot(bench, 0).sequence).toBe(0n);
  });
});

describe('a full ring', () => {
  it('drop oldest: goes on, counts what it overwrote, tells once', () => {
    const bench = programmed();
    bench.enableMsi(MESSAGE, 3);
    bench.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);

    bench.advance(5 * MS);

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(6);
    expect(bench.reg(regs.REG.DROPPED)).toBe(2);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_OVERRUN);
    expect(bench.memory.log.filter((entry) => entry.startsWith('store 0xfee'))).toHaveLength(1);
    expect(slot(bench, 1).sequence).toBe(5n);
    expect(bench.memory.u32(INDEX + 4)).toBe(2);
  });

  it('drop oldest: nothing is dropped while the reader keeps up', () => {
    const bench = programmed();
    bench.setReg(regs.REG.CTRL, RUN);

    bench.advance(3 * MS);
    bench.setReg(regs.REG.READ_INDEX, 4);
    bench.advance(4 * MS);

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(8);
    expect(bench.reg(regs.REG.DROPPED)).toBe(0);
  });

  it('stop when full: frames that were due are counted, and leave a gap in the sequence', () => {
    const bench = programmed();
    bench.setReg(regs.REG.CTRL, RUN | STOP_WHEN_FULL);
    bench.advance(6 * MS);
    const full = {
      index: bench.reg(regs.REG.WRITE_INDEX),
      status: bench.reg(regs.REG.STATUS),
      dropped: bench.reg(regs.REG.DROPPED),
    };

    bench.setReg(regs.REG.READ_INDEX, 1);
    const room = bench.reg(regs.REG.STATUS);
    bench.advance(1 * MS);

    expect(full).toEqual({ index: 4, status: regs.STATUS_RUNNING | regs.STATUS_FULL, dropped: 3 });
    expect(room).toBe(regs.STATUS_RUNNING);
    expect(slot(bench, 0).sequence).toBe(7n);
    expect(bench.memory.u32(INDEX + 4)).toBe(3);
  });

  it('stop when full at rate 0: sleeps until there is room and loses nothing', () => {
    const bench = programmed({ rate: 0 });
    bench.setReg(regs.REG.CTRL, RUN | STOP_WHEN_FULL);

    const next = bench.endpoint.run();
    bench.setReg(regs.REG.READ_INDEX, 2);
    bench.endpoint.run();

    expect(next).toBe(Number.POSITIVE_INFINITY);
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(6);
    expect(bench.reg(regs.REG.DROPPED)).toBe(0);
    expect(slot(bench, 1).sequence).toBe(5n);
  });
});

describe('bad programming', () => {
  it.each([
    ['ring off 64 bytes', { ring: RING + 32 }],
    ['no frames', { frames: 0 }],
    ['frames no power of two', { frames: 6 }],
    ['too many frames', { frames: 131072 }],
    ['frame size 0', { frameSize: 0 }],
    ['frame size off 64', { frameSize: 100 }],
    ['frame size over 1 MiB', { frameSize: (1 << 20) + 64 }],
    ['write-back off 8 bytes', { index: INDEX + 4 }],
    ['ring past 2^64', { ring: 2 ** 64 - 4096, frames: 64 }],
  ])('%s: RUN sets fault and does not run', (_what, change) => {
    const bench = programmed(change);

    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(10 * MS);

    expect(bench.reg(regs.REG.STATUS)).toBe(regs.STATUS_FAULT);
    expect(bench.reg(regs.REG.CTRL)).toBe(0);
    expect(bench.memory.log).toEqual([]);
    expect(bench.reg(regs.REG.FAULTS)).toBe(0);
  });

  it('a good RUN after a bad one clears the fault', () => {
    const bench = programmed({ frames: 3 });
    bench.setReg(regs.REG.CTRL, RUN);

    bench.setReg(regs.REG.FRAMES, 4);
    bench.setReg(regs.REG.CTRL, RUN);

    expect(bench.reg(regs.REG.STATUS)).toBe(regs.STATUS_RUNNING);
  });

  it('RESET stops and puts all registers back', () => {
    const bench = programmed({ irqEvery: 1 });
    bench.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);
    bench.advance(8 * MS);

    bench.setReg(regs.REG.CTRL, regs.CTRL_RESET);
    bench.advance(8 * MS);

    const offsets = Array.from({ length: 17 }, (_, i) => 4 + i * 4);
    expect(offsets.map((offset) => bench.reg(offset))).toEqual(offsets.map(() => 0));
    expect(bench.line.level).toBe(false);
  });
});

describe('refused DMA', () => {
  it('counts, tells once, does not advance the index, and tries again after 1 ms', () => {
    const bench = programmed({ ring: 0x7000_0000, rate: 0 });
    bench.setReg(regs.REG.CTRL, RUN);

    bench.advance(2.5 * MS);

    expect(bench.reg(regs.REG.FAULTS)).toBe(3);
    expect(bench.reg(regs.REG.STATUS)).toBe(regs.STATUS_RUNNING | regs.STATUS_FAULT);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_FAULT);
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(0);
    expect(bench.timeline.entries).toEqual([]);
  });

  it('goes on by itself when the bus takes it again', () => {
    const bench = programmed();
    bench.setCommand(0x0002);
    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(3 * MS);

    bench.setCommand(0x0006);
    bench.advance(1 * MS);

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(1);
    expect(bench.reg(regs.REG.FAULTS)).toBe(4);
    expect(slot(bench, 0).sequence).toBe(4n);
  });

  it('of the write-back alone: the frame counts, the fault too', () => {
    const bench = programmed({ index: 0x7000_0000 });

    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(0);

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(1);
    expect(bench.reg(regs.REG.FAULTS)).toBe(1);
  });

  it('of the MSI is counted without a message of its own', () => {
    const bench = programmed({ irqEvery: 1 });
    bench.enableMsi(MESSAGE, 3);
    bench.memory.pages.delete(MESSAGE / 4096);

    bench.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);
    bench.advance(0);

    expect(bench.reg(regs.REG.FAULTS)).toBe(1);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_FRAMES | regs.IRQ_FAULT);
  });
});

describe('interrupts', () => {
  it('come every n frames; without IRQ_ENABLE only the status bit tells', () => {
    const quiet = programmed({ irqEvery: 2 });
    const loud = programmed({ irqEvery: 2, frames: 4 });
    loud.enableMsi(MESSAGE, 3);

    quiet.setReg(regs.REG.CTRL, RUN);
    quiet.advance(3 * MS);
    loud.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);
    loud.advance(3 * MS);

    expect(quiet.reg(regs.REG.IRQ_STATUS)).toBe(regs.IRQ_FRAMES);
    expect(quiet.line.edges).toEqual([]);
    expect(loud.memory.log.filter((entry) => entry.startsWith('store 0xfee'))).toHaveLength(2);
  });

  it('INTx is a level: up while IRQ_STATUS and IRQ_ENABLE, down by W1C', () => {
    const bench = programmed({ irqEvery: 1 });
    bench.setReg(regs.REG.CTRL, RUN | IRQ_ENABLE);
    bench.advance(1 * MS);

    bench.setReg(regs.REG.IRQ_STATUS, regs.IRQ_FRAMES);

    expect(bench.line.edges).toEqual(['raise', 'lower']);
    expect(bench.reg(regs.REG.IRQ_STATUS)).toBe(0);
  });
});

describe('rate', () => {
  it('a late wake is caught up with and nothing drifts', () => {
    const bench = programmed({ rate: 300, frames: 4 });
    bench.setReg(regs.REG.CTRL, RUN);

    bench.endpoint.run();
    bench.nowNs += 50 * MS;
    bench.endpoint.run();
    const caughtUp = bench.reg(regs.REG.WRITE_INDEX);
    bench.advance(950 * MS - 1);

    expect(caughtUp).toBe(16);
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(300);
  });

  it('a very late wake is caught up with for 100 ms at most', () => {
    const bench = programmed({ rate: 1000 });
    bench.setReg(regs.REG.CTRL, RUN);

    bench.nowNs += 10_000 * MS;
    bench.endpoint.run();

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(101);
  });

  it('a new rate takes effect while running', () => {
    const bench = programmed({ rate: 1 });
    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(10 * MS);

    bench.setReg(regs.REG.RATE, 1000);
    bench.advance(3 * MS);

    expect(bench.reg(regs.REG.WRITE_INDEX)).toBe(4);
  });

  it('rate 0 works in slices of about a millisecond', () => {
    const bench = programmed({ rate: 0 });
    const startNs = bench.nowNs;
    let now = startNs;
    // each look at the clock costs 10 µs
    Object.defineProperty(bench, 'nowNs', { get: () => (now += 10_000) });
    bench.setReg(regs.REG.CTRL, RUN);

    const due = bench.endpoint.run();

    expect(due).toBeLessThanOrEqual(now);
    expect(now - startNs).toBeLessThan(1.1 * MS);
    expect(bench.reg(regs.REG.WRITE_INDEX)).toBeGreaterThan(10);
  });
});

describe('defect corrupt-frame', () => {
  it('makes exactly one frame fail its check', () => {
    const bench = programmed();
    bench.setReg(regs.REG.CTRL, RUN);
    bench.advance(0);

    bench.control.inject('corrupt-frame');
    bench.advance(2 * MS);

    expect([0, 1, 2].map((n) => slot(bench, n).crcOk)).toEqual([true, false, true]);
  });
});
