/**
 * How a hart's state goes from the owner to the hart's thread and back, in shared memory: one slot
 * for each hart. Whoever has the hart writes it; the lease publishes it
 * (machine/control/lease.ts).
 */
import { HART_SECTION } from '../../../guest/riscv/state.ts';
import { pack, unpack } from '../../../platform/msgpack.ts';
import { atomic32, defineShared, int32s, type SharedPart, uint8s, within } from '../../../platform/shared.ts';
import { type HartLocalState, VCPU_SECTION } from '../../machine/hart-local/hart-local.ts';

const Slot = defineShared('loan', {
  length: atomic32, // bytes of the state that follows
});

/** A state has less than 3 KiB. */
const SLOT_BYTES = 8192;

export const loanBytes = (harts: number): number => harts * SLOT_BYTES;

export class Loan {
  readonly #words: Int32Array;
  readonly #data: Uint8Array;

  constructor(loans: SharedPart, hart: number) {
    const slot = within(loans, hart * SLOT_BYTES, SLOT_BYTES);
    this.#words = int32s(slot);
    this.#data = uint8s(within(slot, Slot.size));
  }

  put(state: HartLocalState): void {
    const bytes = pack(state);
    this.#data.set(bytes); // throws if there is no room: a mistake of ours
    this.#words[Slot.word.length] = bytes.length;
  }

  take(): HartLocalState {
    const { vcpu, hart } = unpack(this.#data.slice(0, this.#words[Slot.word.length]!)) as HartLocalState;
    return { vcpu: VCPU_SECTION.decode(vcpu), hart: HART_SECTION.decode(hart) };
  }
}
