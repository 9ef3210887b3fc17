import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defineStruct, type FieldType, s32, u8, u16, u32, u64, viewOf } from '../../platform/struct.ts';

const TYPES: Readonly<Record<string, FieldType<number> | FieldType<bigint>>> = { u8, u16, u32, s32, u64 };
const C_NAMES: Readonly<Record<string, string>> = {
  u8: 'uint8_t',
  u16: 'uint16_t',
  u32: 'uint32_t',
  s32: 'int32_t',
  u64: 'uint64_t',
};

const hasGcc = spawnSync('gcc', ['--version']).status === 0;
const fieldTypes = fc.array(fc.constantFrom(...Object.keys(TYPES)), { minLength: 1, maxLength: 12 });

const define = (types: readonly string[]): ReturnType<typeof defineStruct> =>
  defineStruct('s', Object.fromEntries(types.map((type, i) => [`f${i}`, TYPES[type]!])));

/** sizeof and all offsets of each struct as the C compiler lays them out. */
function layoutsInC(structs: readonly (readonly string[])[]): number[][] {
  const folder = mkdtempSync(join(tmpdir(), 'livevmm-struct-'));
  try {
    const declarations = structs.map(
      (types, n) => `struct s${n} { ${types.map((type, i) => `${C_NAMES[type]} f${i};`).join(' ')} };`,
    );
    const prints = structs.map(
      (types, n) =>
        `printf("%zu${' %zu'.repeat(types.length)}\\n", sizeof(struct s${n}), ${types.map((_, i) => `offsetof(struct s${n}, f${i})`).join(', ')});`,
    );
    const source = `#include <stdint.h>\n#include <stddef.h>\n#include <stdio.h>\n${declarations.join('\n')}\nint main(void) { ${prints.join('\n')} return 0; }\n`;
    writeFileSync(join(folder, 'layout.c'), source);
    execFileSync('gcc', ['-o', join(folder, 'layout'), join(folder, 'layout.c')]);
    const lines = execFileSync(join(folder, 'layout'), { encoding: 'utf8' }).trim().split('\n');
    return lines.map((line) => line.split(' ').map(Number));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('defineStruct', () => {
  it.skipIf(!hasGcc)('lays out any fields as the C compiler does', () => {
    const structs = fc.sample(fieldTypes, 60);

    const ours = structs.map((types) => {
      const struct = define(types);
      return [struct.size, ...types.map((_, i) => (struct.offset as Record<string, number>)[`f${i}`]!)];
    });

    expect(ours).toEqual(layoutsInC(structs));
  });

  it('knows the layout of struct vfio_iommu_type1_dma_map', () => {
    const DmaMap = defineStruct('vfio_iommu_type1_dma_map', {
      argsz: u32,
      flags: u32,
      vaddr: u64,
      iova: u64,
      size: u64,
    });

    expect([DmaMap.size, DmaMap.offset]).toEqual([32, { argsz: 0, flags: 4, vaddr: 8, iova: 16, size: 24 }]);
  });

  it('reads back what it wrote, at any offset, and touches nothing else', () => {
    const Mixed = defineStruct('mixed', { a: u8, b: u64, c: s32, d: u16 });
    const values = fc.record({
      a: fc.integer({ min: 0, max: 255 }),
      b: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      c: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      d: fc.integer({ min: 0, max: 65535 }),
    });
    fc.assert(
      fc.property(values, fc.nat(40), (value, offset) => {
        const bytes = new Uint8Array(offset + Mixed.size + 8).fill(0xee);
        Mixed.write(viewOf(bytes), value, offset);

        expect(Mixed.read(viewOf(bytes), offset)).toEqual(value);
        expect(bytes.subarray(0, offset).every((b) => b === 0xee)).toBe(true);
        expect(bytes.subarray(offset + Mixed.size).every((b) => b === 0xee)).toBe(true);
      }),
    );
  });

  it('writes the given fields only', () => {
    const Pair = defineStruct('pair', { a: u32, b: u32 });
    const bytes = Pair.bytes({ a: 1, b: 2 });

    Pair.write(viewOf(bytes), { b: 7 });

    expect(Pair.read(viewOf(bytes))).toEqual({ a: 1, b: 7 });
  });

  it('makes an argument of another length, longer for a flexible tail or shorter for a caller that is cut off', () => {
    const Pair = defineStruct('pair', { a: u32, b: u32 });

    expect(Pair.bytes({ a: 1 }, 20)).toHaveLength(20);
    expect(Pair.bytes({ a: 1, b: 2 }, 6)).toEqual(Uint8Array.of(1, 0, 0, 0, 2, 0));
  });
});

describe('viewOf', () => {
  it('covers exactly the bytes of the array', () => {
    const view = viewOf(new Uint8Array(new ArrayBuffer(32), 8, 4));

    expect([view.byteOffset, view.byteLength]).toEqual([8, 4]);
  });
});
