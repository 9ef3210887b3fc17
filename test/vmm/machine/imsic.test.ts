import { Worker } from 'node:worker_threads';

import { beforeEach, describe, expect, it } from 'vitest';

import { IMSIC_BYTES, Imsic } from '../../../vmm/machine/imsic.ts';

const MEIP = 1 << 11;
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIP2 = 0x82;
const EIE0 = 0xc0;
const EIE2 = 0xc2;
const SETEIPNUM_LE = 0;
const SETEIPNUM_BE = 4;

let shared: SharedArrayBuffer;
let lines: Int32Array;
let imsic: Imsic;

beforeEach(() => {
  shared = new SharedArrayBuffer(IMSIC_BYTES);
  lines = new Int32Array(new SharedArrayBuffer(4));
  imsic = new Imsic(shared, lines, 0);
});

/** AIA 1.0 §3. */
describe('IMSIC', () => {
  it('raises MEIP only for what is pending, enabled and delivered', () => {
    imsic.store(SETEIPNUM_LE, 4, 5n);
    expect(lines[0]).toBe(0);
    imsic.writeRegister(EIE0, 1n << 5n);
    expect(lines[0]).toBe(0);
    imsic.writeRegister(EIDELIVERY, 1n);
    expect(lines[0]).toBe(MEIP);
    imsic.writeRegister(EIE0, 0n);
    expect(lines[0]).toBe(0);
  });

  it('gives the lowest identity first and lowers MEIP with the last claim', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
    imsic.writeRegister(EIE2, -1n);
    imsic.setPending(70);
    imsic.setPending(9);
    expect(imsic.top()).toBe((9 << 16) | 9);
    expect(imsic.claim()).toBe((9 << 16) | 9);
    expect(imsic.claim()).toBe((70 << 16) | 70);
    expect(lines[0]).toBe(0);
    expect(imsic.claim()).toBe(0);
  });

  it('holds back identities at and above the threshold', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
    imsic.writeRegister(EITHRESHOLD, 8n);
    imsic.setPending(8);
    expect(imsic.top()).toBe(0);
    imsic.setPending(7);
    expect(imsic.top()).toBe((7 << 16) | 7);
  });

  it('ignores identity 0 and identities it does not have', () => {
    imsic.store(SETEIPNUM_LE, 4, 0n);
    imsic.store(SETEIPNUM_LE, 4, 256n);
    imsic.store(SETEIPNUM_LE, 4, 0xffff_ffffn);
    imsic.writeRegister(EIE0, -1n);
    expect(imsic.readRegister(EIP0)).toBe(0n);
    expect(imsic.readRegister(EIE0)).toBe(BigInt.asUintN(64, -2n));
  });

  it('takes big-endian stores at seteipnum_be, words only, and reads zero', () => {
    imsic.store(SETEIPNUM_BE, 4, 0x4600_0000n);
    expect(imsic.readRegister(EIP2)).toBe(1n << 6n);
    expect(imsic.load(SETEIPNUM_LE, 4)).toBe(0n);
    expect(imsic.load(SETEIPNUM_LE, 8)).toBeUndefined();
    expect(imsic.store(SETEIPNUM_LE, 1, 1n)).toBe(false);
  });

  it('keeps WARL fields to their values', () => {
    imsic.writeRegister(EIDELIVERY, 0x4000_0001n);
    imsic.writeRegister(EITHRESHOLD, 0x1ffn);
    expect(imsic.readRegister(EIDELIVERY)).toBe(1n);
    expect(imsic.readRegister(EITHRESHOLD)).toBe(0xffn);
    imsic.writeRegister(EIDELIVERY, 0x4000_0000n);
    expect(imsic.readRegister(EIDELIVERY)).toBe(0n);
  });

  it('goes on from a saved state, with its line', () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EITHRESHOLD, 200n);
    imsic.writeRegister(EIE0, -1n);
    imsic.setPending(31);
    imsic.setPending(63);
    const state = structuredClone(imsic.save());
    const freshLines = new Int32Array(new SharedArrayBuffer(4));
    const fresh = new Imsic(new SharedArrayBuffer(IMSIC_BYTES), freshLines, 0);
    fresh.restore(state);
    expect(freshLines[0]).toBe(MEIP);
    expect(fresh.claim() & 0xffff).toBe(31);
    expect(fresh.claim() & 0xffff).toBe(63);
    expect(fresh.readRegister(EITHRESHOLD)).toBe(200n);
  });

  it('loses no interrupt and leaves no line up while another thread makes identities pending', async () => {
    imsic.writeRegister(EIDELIVERY, 1n);
    imsic.writeRegister(EIE0, -1n);
    const rounds = 5000;
    const turns = new Int32Array(new SharedArrayBuffer(8));
    const raiser = startRaiser({ shared, lines: lines.buffer as SharedArrayBuffer, turns, rounds });
    let claimed = 0;
    for (const deadline = performance.now() + 30_000; claimed < rounds && performance.now() < deadline; ) {
      const raised = Atomics.load(turns, RAISED);
      if ((Atomics.load(lines, 0) & MEIP) === 0 || imsic.claim() === 0) {
        Atomics.wait(turns, RAISED, raised, 1);
        continue;
      }
      claimed++;
      Atomics.store(turns, CLAIMED, claimed);
      Atomics.notify(turns, CLAIMED);
    }
    await raiser.terminate();
    expect(claimed).toBe(rounds);
    expect(Atomics.load(lines, 0)).toBe(0);
  });
});

const CLAIMED = 0;
const RAISED = 1;

/** A thread that makes identity 3 pending again as soon as it was claimed. */
function startRaiser(data: {
  shared: SharedArrayBuffer;
  lines: SharedArrayBuffer;
  turns: Int32Array;
  rounds: number;
}): Worker {
  const source = `
    const { workerData } = require('node:worker_threads');
    require('tsx/cjs/api').register();
    const { Imsic } = require(workerData.module);
    const { turns, rounds } = workerData;
    const imsic = new Imsic(workerData.shared, new Int32Array(workerData.lines), 0);
    for (let round = 0; round < rounds; round++) {
      imsic.setPending(3);
      Atomics.add(turns, ${RAISED}, 1);
      Atomics.notify(turns, ${RAISED});
      Atomics.wait(turns, ${CLAIMED}, round, 10000);
    }`;
  const module = new URL('../../../vmm/machine/imsic.ts', import.meta.url).pathname;
  return new Worker(source, { eval: true, workerData: { ...data, module } });
}
