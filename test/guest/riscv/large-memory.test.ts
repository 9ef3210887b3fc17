import { describe, expect, it } from 'vitest';

import { Memory } from '../../../guest/riscv/memory.ts';
import { createHart, emptyBus, listing, RAM_BASE } from './fixture.ts';

/**
 * RAM whose size or offsets do not fit into 31 or 32 bits. It is sparse: only the pages that are
 * touched exist.
 */

const GIB = 2 ** 30;
const WASM_PAGE = 65536;

function sparse(size: number): SharedArrayBuffer {
  const pages = size / WASM_PAGE;
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    .buffer as unknown as SharedArrayBuffer;
}

const AFTER_LOADS_AND_STORES = [0x88n, 0x9988n, 0xbbaa_9988n, 0xffee_ddcc_bbaa_9988n, 0xffee_ddcc_bbaa_9988n];

describe.each([
  ['just below 2 GiB', 2 * GIB - WASM_PAGE],
  ['2 GiB', 2 * GIB],
  ['3 GiB', 3 * GIB],
  ['4 GiB', 4 * GIB],
])('RAM of %s', (_, size) => {
  const ram = sparse(size);
  const end = RAM_BASE + size;

  it('is RAM to its last byte, and no further', () => {
    const memory = new Memory({ bytes: ram, base: RAM_BASE, offset: 0 }, emptyBus);
    expect([memory.isRam(end - 8, 8), memory.isRam(end - 7, 8), memory.isRam(end, 1)]).toEqual([true, false, false]);
    expect(memory.store(end - 8, 8, 0x1122_3344_5566_7788n)).toBe(true);
    expect(memory.load(end - 1, 1)).toBe(0x11n);
    expect(memory.load(end - 2, 2)).toBe(0x1122n);
    expect(memory.load(end - 4, 4)).toBe(0x1122_3344n);
    expect(memory.load(end - 3, 2)).toBe(0x2233n);
    expect(memory.fetch(end - 2)).toBe(0x1122);
  });

  it('runs code at its end, with loads, stores and atomics of each size', () => {
    const at = size - 0x1000;
    const { hart, ...fixture } = createHart({ ram });
    const program = `
      00b50023  sb a1, 0(a0)
      00054603  lbu a2, 0(a0)
      00b51423  sh a1, 8(a0)
      00855683  lhu a3, 8(a0)
      00b52823  sw a1, 16(a0)
      01056703  lwu a4, 16(a0)
      00b53c23  sd a1, 24(a0)
      01853283  ld t0, 24(a0)
      02050513  addi a0, a0, 32
      00b5302f  amoadd.d zero, a1, (a0)
      1005332f  lr.d t1, (a0)`;
    new Uint8Array(ram, at).set(listing(program));
    hart.reset(RAM_BASE + at, BigInt(RAM_BASE + at + 0x800), 0xffee_ddcc_bbaa_9988n);
    expect(hart.run(11)).toBe('budget');
    expect(hart.pc).toBe(RAM_BASE + at + 44);
    const results = (['a2', 'a3', 'a4', 't0', 't1'] as const).map((name) => fixture.get(name));
    expect(results).toEqual(AFTER_LOADS_AND_STORES);
    expect(new BigUint64Array(ram, at + 0x800, 5)[0]).toBe(0x88n);
  });
});
