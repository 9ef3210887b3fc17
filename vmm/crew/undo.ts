/**
 * Takes back what a dead VMM's guest has stored since its last published state. Devices go on with
 * their DMA meanwhile. Where RAM has no longer what the guest stored, a device has written since,
 * and its bytes stay.
 */
import { AT, CLAIM, ENTRY_BYTES, HartJournal, NEW, OLD, SIZE } from '../../guest/riscv/journal-layout.ts';
import { bigUint64s, int32s, type SharedPart, uint8s } from '../../platform/shared.ts';
import { entriesAfter } from '../machine/hart-local/journal.ts';

/**
 * Undoes the stores that came after state `number`, the last one first. `ram` begins with all of
 * guest RAM. The guest stands meanwhile, and there may be 24 000: nothing is allocated but what a
 * store of 8 bytes needs.
 */
export function undoStores(journal: SharedPart, number: number, ram: SharedArrayBuffer): void {
  const [words, longs, bytes] = [int32s(journal), bigUint64s(journal), uint8s(journal)];
  const u8 = new Uint8Array(ram);
  // no shifts: 4 GiB are 2^32
  const u16 = new Uint16Array(ram, 0, Math.floor(ram.byteLength / 2));
  const i32 = new Int32Array(ram, 0, Math.floor(ram.byteLength / 4));
  const u64 = new BigUint64Array(ram, 0, Math.floor(ram.byteLength / 8));
  for (let i = entriesAfter(journal, number) - 1; i >= 0; i--) {
    const entry = (HartJournal.size + i * ENTRY_BYTES) / 4;
    const at = words[entry + AT]! >>> 0;
    const size = words[entry + SIZE]!;
    const old = words[entry + OLD]!;
    const value = words[entry + NEW]!;
    if (size === CLAIM) continue;
    // one step, so no device comes between the look and the store
    if (at % size !== 0) undoMisaligned(u8, at, bytes.subarray(4 * (entry + OLD)), size);
    else if (size === 8) Atomics.compareExchange(u64, at / 8, longs[(entry + NEW) / 2]!, longs[(entry + OLD) / 2]!);
    else if (size === 4) Atomics.compareExchange(i32, at / 4, value, old);
    else if (size === 2) Atomics.compareExchange(u16, at / 2, value, old);
    else Atomics.compareExchange(u8, at, value, old);
  }
}

/** The guest's store was one of single bytes, too. `values` are the old one and the new one. */
function undoMisaligned(ram: Uint8Array, at: number, values: Uint8Array, size: number): void {
  const old = values.subarray(0, size);
  const value = values.subarray(4 * (NEW - OLD), 4 * (NEW - OLD) + size);
  if (!old.every((byte, i) => ram[at + i] === byte || ram[at + i] === value[i])) return;
  for (const [i, byte] of old.entries()) Atomics.compareExchange(ram, at + i, value[i]!, byte);
}
