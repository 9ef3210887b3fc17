/**
 * The entry of a store to RAM in the journal (../journal-layout.ts), which translated code writes
 * itself: first the entry, then the head, which publishes it, then the store. A thread may die
 * between any two of them, and another process then looks.
 *
 * It sees the stores of the dead thread in program order, on every processor: a thread dies between
 * two instructions. So no barrier is needed. V8 emits stores to a shared memory in their order, as
 * for all of the guest's (memory.ts); journal-order.test.ts watches that. An atomic store of the
 * head would be an XCHG on x86: a guest that stores all the time would take four times as long.
 *
 * Nothing here looks for room: the hart runs no further than there is some (`StoreJournal.room`).
 */
import { AT, COUNT_MASK, ENTRY_BYTES, HartJournal, NEW, OLD, SIZE } from '../journal-layout.ts';
import { E, type Emitter, ENTRY_PLACE, HEAD } from './emitter.ts';
import { type Code, op } from './wasm.ts';

/**
 * Announces a store of `size` bytes at the place in E, as `place` gives it. `old` and `value` put
 * 64 bits onto the stack; those above the size do not matter.
 */
export function announce(e: Emitter, size: number, old: () => Code, value: () => Code): void {
  const { code, places } = e;
  const entries = places.journal + HartJournal.size;
  code.get(HEAD).i32(COUNT_MASK).byte(op.i32And).i32(ENTRY_BYTES).byte(op.i32Mul).tee(ENTRY_PLACE).get(E);
  if (e.context.paged) code.i32(places.ram.offset).byte(op.i32Sub); // now an offset in RAM
  code.memory(op.i32Store, entries + 4 * AT);
  code
    .get(ENTRY_PLACE)
    .i32(size)
    .memory(op.i32Store, entries + 4 * SIZE);
  code.get(ENTRY_PLACE);
  old().memory(op.i64Store, entries + 4 * OLD);
  code.get(ENTRY_PLACE);
  value().memory(op.i64Store, entries + 4 * NEW);
  storeHead(e, op.i32Add);
}

/** The store that was announced last is not made: another thread has changed the memory. */
export const withdraw = (e: Emitter): void => storeHead(e, op.i32Sub);

/** One entry more or less. */
function storeHead({ code, places }: Emitter, count: typeof op.i32Add | typeof op.i32Sub): void {
  code.i32(0).get(HEAD).i32(1).byte(count).tee(HEAD);
  code.memory(op.i32Store, places.journal + HartJournal.offset.head);
}
