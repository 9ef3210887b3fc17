import { describe, expect, it } from 'vitest';

import { JOURNAL_BYTES } from '../../../guest/riscv/journal-layout.ts';
import { wholeOf } from '../../../platform/shared.ts';
import { undoStores } from '../../../vmm/crew/undo.ts';
import { Journal } from '../../../vmm/machine/hart-local/journal.ts';

const GIB = 2 ** 30;
const WASM_PAGE = 65536;
const STATE = 5;
/** Offset and size; the last one is misaligned. */
const STORES = [
  [0, 8],
  [8, 4],
  [12, 2],
  [14, 1],
  [17, 8],
] as const;

/** RAM of which only the pages that are touched exist. */
function sparse(size: number): SharedArrayBuffer {
  const pages = size / WASM_PAGE;
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    .buffer as unknown as SharedArrayBuffer;
}

describe('stores to RAM that are taken back', () => {
  it.each([
    ['64 KiB', WASM_PAGE],
    ['2 GiB', 2 * GIB],
    ['4 GiB', 4 * GIB],
  ])('are gone at its beginning and at its end, in RAM of %s', (_, size) => {
    const part = wholeOf(new SharedArrayBuffer(JOURNAL_BYTES));
    const journal = new Journal(part);
    journal.follow(STATE);
    const ram = sparse(size);
    const bytes = new Uint8Array(ram);
    for (const base of [0, size - 32]) {
      for (const [offset, length] of STORES) {
        journal.store(base + offset, length, 0, 0, 0x0403_0201, length === 8 ? 0x0807_0605 : 0);
        for (let i = 0; i < length; i++) bytes[base + offset + i] = i + 1;
      }
    }
    undoStores(part, STATE, ram);
    for (const base of [0, size - 32]) expect([...bytes.subarray(base, base + 32)]).toEqual(Array(32).fill(0));
  });
});
