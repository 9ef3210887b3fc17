/**
 * Takes back what a dead VMM's guest has stored since its last published state. Devices go on with
 * their DMA meanwhile. Where RAM has no longer what the guest stored, a device has written since,
 * and its bytes stay.
 */
import type { StoreEntry } from '../machine/hart-local/journal.ts';

/** `stores` are in the order in which they were made; `ram` is all of guest RAM. */
export function undoStores(stores: readonly StoreEntry[], ram: SharedArrayBuffer): void {
  const views = {
    1: new Uint8Array(ram),
    2: new Uint16Array(ram, 0, ram.byteLength >>> 1),
    4: new Uint32Array(ram, 0, ram.byteLength >>> 2),
    8: new BigUint64Array(ram, 0, ram.byteLength >>> 3),
  };
  for (const { at, size, old, new: value } of stores.toReversed()) {
    if (at % size !== 0) undoMisaligned(views[1], { at, size, old, new: value });
    // one step, so no device comes between the look and the store
    else if (size === 8) Atomics.compareExchange(views[8], at / 8, value, old);
    else Atomics.compareExchange(views[size as 1 | 2 | 4], at / size, Number(value), Number(old));
  }
}

/** The guest's store was one of single bytes, too. */
function undoMisaligned(ram: Uint8Array, { at, size, old, new: value }: StoreEntry): void {
  const byte = (of: bigint, i: number): number => Number((of >> BigInt(8 * i)) & 0xffn);
  const offsets = Array.from({ length: size }, (_, i) => i);
  if (!offsets.every((i) => [byte(value, i), byte(old, i)].includes(ram[at + i]!))) return;
  for (const i of offsets) Atomics.compareExchange(ram, at + i, byte(value, i), byte(old, i));
}
