import { describe, expect, it } from 'vitest';

import { device as mscribe } from '../../../devices/mscribe/device.ts';
import * as regs from '../../../devices/mscribe/regs.ts';
import { Bench } from '../bench.ts';

const RING = 0x10_0000;
const SIZE = 4;
const SOURCE = 0x20_0000;
const TARGET = 0x30_0000;
const MSI_PAGE = 0xfee0_0000;
const COPY = regs.OP_COPY;
const FILL = regs.OP_FILL;
const { JOB_IRQ: IRQ } = regs;

interface JobFields {
  readonly command?: number;
  readonly length?: number;
  readonly source?: number | bigint;
  readonly destination?: number | bigint;
}

/** A device with a ring of four and memory on both sides, enabled. */
function ready(properties: Readonly<Record<string, string>> = {}): Bench {
  const bench = new Bench(mscribe, properties).ready();
  bench.memory
    .back(RING, RING + 0x1000)
    .back(SOURCE, SOURCE + 0x2_0000)
    .back(TARGET, TARGET + 0x2_0000);
  enable(bench);
  return bench;
}

function enable(bench: Bench, ring = RING, size = SIZE): void {
  bench.setReg(regs.REG.RING_LO, ring);
  bench.setReg(regs.REG.RING_HI, 0);
  bench.setReg(regs.REG.RING_SIZE, size);
  bench.setReg(regs.REG.CONTROL, regs.CONTROL_ENABLE);
}

/** Puts job n into its slot. */
function put(bench: Bench, n: number, fields: JobFields = {}): void {
  const { command = COPY, length = 16, source = SOURCE, destination = TARGET } = fields;
  const view = new DataView(new ArrayBuffer(regs.DESCRIPTOR_BYTES));
  view.setUint32(0, command, true);
  view.setUint32(4, length, true);
  view.setBigUint64(8, BigInt(source), true);
  view.setBigUint64(16, BigInt(destination), true);
  bench.memory.poke(RING + (n % SIZE) * regs.DESCRIPTOR_BYTES, new Uint8Array(view.buffer));
}

function run(bench: Bench, ...jobs: readonly JobFields[]): void {
  const first = bench.reg(regs.REG.TAIL);
  for (const [i, job] of jobs.entries()) put(bench, first + i, job);
  bench.setReg(regs.REG.TAIL, first + jobs.length);
  bench.advance(1e6);
}

const result = (bench: Bench, n = 0) => ({
  written: bench.memory.u32(RING + (n % SIZE) * regs.DESCRIPTOR_BYTES + 24),
  status: bench.memory.u32(RING + (n % SIZE) * regs.DESCRIPTOR_BYTES + 28),
});
const bytes = (length: number, start = 1) => Uint8Array.from({ length }, (_, i) => start + i * 7);

describe('a job', () => {
  it.each([1, 16, 4096, 65536, 65537, 0x2_0000 - 3])('copies %i bytes', (length) => {
    const bench = ready();
    bench.memory.poke(SOURCE + 3, bytes(length));
    run(bench, { length, source: SOURCE + 3 });
    expect(result(bench)).toEqual({ status: regs.STATUS_DONE, written: length });
    expect(bench.memory.bytes(TARGET, length)).toEqual(bytes(length));
  });

  it('fills with 8 bytes, and with part of them at the end', () => {
    const bench = ready();
    run(bench, { command: FILL, length: 65536 + 11, source: 0x8877_6655_4433_2211n });
    expect(result(bench)).toEqual({ status: regs.STATUS_DONE, written: 65536 + 11 });
    expect([...bench.memory.bytes(TARGET + 65536, 12)]).toEqual([
      0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x11, 0x22, 0x33, 0,
    ]);
  });

  it.each<[string, JobFields, number, number]>([
    ['of an operation there is not', { command: 3 }, regs.STATUS_BAD_OPERATION, 0],
    ['of no bytes', { length: 0 }, regs.STATUS_BAD_LENGTH, 0],
    ['of more than 1 MiB', { length: regs.MAX_LENGTH + 1 }, regs.STATUS_BAD_LENGTH, 0],
    ['from where nothing is', { source: 0x90_0000 }, regs.STATUS_SOURCE_REFUSED, 0],
    ['to where nothing is', { destination: 1n << 60n }, regs.STATUS_DESTINATION_REFUSED, 0],
    ['to the end of memory', { destination: TARGET + 0x2_0000 - 4 }, regs.STATUS_DESTINATION_REFUSED, 4],
    ['that runs out of source', { length: 0x2_0001 }, regs.STATUS_SOURCE_REFUSED, 0x2_0000],
  ])('%s ends with its status, and the next one is done', (_name, job, status, written) => {
    const bench = ready();
    run(bench, job, {});
    expect(result(bench, 0)).toEqual({ status, written });
    expect(result(bench, 1)).toEqual({ status: regs.STATUS_DONE, written: 16 });
    expect([bench.reg(regs.REG.JOBS), bench.reg(regs.REG.FAILED)]).toEqual([2, 1]);
  });

  it('is recorded with all its transactions', () => {
    const bench = ready();
    run(bench, { length: 65536 + 1 });
    // two parts read and written, the descriptor read, the result written
    expect(bench.timeline.entries).toEqual([{ nowNs: 1e9, transactions: 6, bytes: 2 * 65537 + 32 + 8 }]);
  });

  it('takes at least job-ms', () => {
    const bench = ready({ 'job-ms': '4' });
    bench.setReg(regs.REG.TAIL, 3);
    bench.advance(3e6);
    expect(bench.reg(regs.REG.HEAD)).toBe(1);
    bench.advance(1e6);
    expect(bench.reg(regs.REG.HEAD)).toBe(2);
  });
});

describe('the ring', () => {
  it('is carried out in order up to TAIL, again and again', () => {
    const bench = ready();
    run(bench, {}, {}, {}, {});
    run(bench, { destination: TARGET + 0x100 }, { length: 3 });
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.STATUS)]).toEqual([6, 0]);
    expect([result(bench, 4).written, result(bench, 5).written]).toEqual([16, 3]);
  });

  it('may be full: BUSY until HEAD is TAIL', () => {
    const bench = ready({ 'job-ms': '10' });
    for (const n of [0, 1, 2, 3]) put(bench, n);
    bench.setReg(regs.REG.TAIL, SIZE);
    bench.advance(0);
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.STATUS)]).toEqual([1, regs.STATE_BUSY]);
    bench.advance(30e6);
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.STATUS)]).toEqual([4, 0]);
  });

  it.each<[string, (bench: Bench) => void]>([
    ['TAIL more than a ring ahead', (bench) => bench.setReg(regs.REG.TAIL, SIZE + 1)],
    ['TAIL behind HEAD', (bench) => bench.setReg(regs.REG.TAIL, 0xffff_ffff)],
    ['a ring that is not aligned', (bench) => restart(bench, RING + 8, SIZE)],
    ['a ring of three', (bench) => restart(bench, RING, 3)],
    ['a ring of one', (bench) => restart(bench, RING, 1)],
    ['a ring that is too long', (bench) => restart(bench, RING, 8192)],
    ['a ring where nothing is', (bench) => restart(bench, 0x70_0000, SIZE)],
  ])('%s is an error that ends everything until RESET', (_name, break_) => {
    const bench = ready();
    break_(bench);
    bench.advance(1e6);
    expect(bench.reg(regs.REG.STATUS) & regs.STATE_ERROR).toBe(regs.STATE_ERROR);
    expect([bench.reg(regs.REG.CAUSE), bench.line.level]).toEqual([regs.CAUSE_ERROR, true]);
    bench.setReg(regs.REG.CONTROL, regs.CONTROL_RESET);
    expect([bench.reg(regs.REG.STATUS), bench.reg(regs.REG.CAUSE), bench.line.level]).toEqual([0, 0, false]);
    enable(bench);
    run(bench, {});
    expect(result(bench)).toEqual({ status: regs.STATUS_DONE, written: 16 });
  });

  it('does not change while it is enabled, and starts at 0 when it is enabled again', () => {
    const bench = ready();
    run(bench, {});
    bench.setReg(regs.REG.RING_LO, 0);
    bench.setReg(regs.REG.RING_SIZE, 2);
    expect([bench.reg(regs.REG.RING_LO), bench.reg(regs.REG.RING_SIZE)]).toEqual([RING, SIZE]);
    bench.setReg(regs.REG.CONTROL, 0);
    bench.setReg(regs.REG.TAIL, 2);
    bench.advance(1e6);
    expect(bench.reg(regs.REG.HEAD)).toBe(1);
    bench.setReg(regs.REG.CONTROL, regs.CONTROL_ENABLE);
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.TAIL)]).toEqual([0, 0]);
  });

  it('a result that cannot be written back is an error', () => {
    const bench = ready();
    const { memory } = bench;
    const write = memory.write.bind(memory);
    memory.write = (vpn, offset, src) => (vpn * 4096 === RING ? 0 : write(vpn, offset, src));
    run(bench, {});
    expect([bench.reg(regs.REG.STATUS), bench.reg(regs.REG.HEAD)]).toEqual([regs.STATE_BUSY | regs.STATE_ERROR, 0]);
  });
});

function restart(bench: Bench, ring: number, size: number): void {
  bench.setReg(regs.REG.CONTROL, regs.CONTROL_RESET);
  enable(bench, ring, size);
  bench.setReg(regs.REG.TAIL, 1);
}

describe('interrupts', () => {
  it('INTx is up while CAUSE is not 0, for jobs that ask for it', () => {
    const bench = ready();
    run(bench, {});
    expect([bench.reg(regs.REG.CAUSE), bench.line.edges]).toEqual([0, []]);
    run(bench, { command: COPY | IRQ }, { command: FILL | IRQ });
    expect([bench.reg(regs.REG.CAUSE), bench.line.edges]).toEqual([regs.CAUSE_JOB, ['raise']]);
    bench.setReg(regs.REG.CAUSE, regs.CAUSE_JOB);
    expect([bench.reg(regs.REG.CAUSE), bench.line.level]).toEqual([0, false]);
  });

  it('a message for every such job, after its result', () => {
    const bench = ready();
    bench.enableMsi(MSI_PAGE, 0x41);
    run(bench, { command: COPY | IRQ }, {}, { command: COPY | IRQ });
    expect(bench.memory.log.filter((line) => !line.startsWith('write 0x300000'))).toEqual([
      'write 0x100018+0x8',
      'store 0xfee00000=0x41',
      'write 0x100038+0x8',
      'write 0x100058+0x8',
      'store 0xfee00000=0x41',
    ]);
  });
});

describe('registers that are written while an access sleeps', () => {
  /** Runs job 0 while `meanwhile` happens in its k-th access. */
  function during(k: number, meanwhile: (bench: Bench) => void): Bench {
    const bench = ready();
    const { memory } = bench;
    put(bench, 0, { command: COPY | IRQ });
    let count = 0;
    const sleepy =
      <A extends unknown[]>(access: (...args: A) => number) =>
      (...args: A): number => {
        const moved = access(...args);
        if (++count === k) meanwhile(bench);
        return moved;
      };
    memory.read = sleepy(memory.read.bind(memory));
    memory.write = sleepy(memory.write.bind(memory));
    bench.setReg(regs.REG.TAIL, 1);
    bench.advance(1e6);
    return bench;
  }

  it.each([1, 2, 3, 4])('RESET in access %i drops the job: no count, no interrupt, no error', (k) => {
    const bench = during(k, (device) => device.setReg(regs.REG.CONTROL, regs.CONTROL_RESET));
    const seen = [regs.REG.HEAD, regs.REG.JOBS, regs.REG.FAILED, regs.REG.CAUSE, regs.REG.STATUS].map((r) =>
      bench.reg(r),
    );
    expect(seen).toEqual([0, 0, 0, 0, 0]);
    expect(bench.line.edges).toEqual([]);
  });

  it('an enable anew in the middle does not count the old job either', () => {
    const bench = during(2, (device) => {
      device.setReg(regs.REG.CONTROL, 0);
      device.setReg(regs.REG.CONTROL, regs.CONTROL_ENABLE);
    });
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.JOBS)]).toEqual([0, 0]);
  });

  it('a disable in the middle lets the job end, and no other begins', () => {
    const bench = during(2, (device) => {
      put(device, 1);
      device.setReg(regs.REG.TAIL, 2);
      device.setReg(regs.REG.CONTROL, 0);
    });
    expect([bench.reg(regs.REG.HEAD), bench.reg(regs.REG.JOBS), bench.reg(regs.REG.CAUSE)]).toEqual([1, 1, 1]);
  });
});
