/**
 * Where a vCPU publishes its machine's state, in shared memory: two slots and the number of the
 * state that holds. The state of number n lies in slot n mod 2. So the writer never touches the
 * state that holds, and whoever looks after its death finds a whole one.
 */
import { enospc } from '../../platform/errno.ts';
import { atomic32, bytes, defineShared, int32s, type SharedPart, uint8s, within } from '../../platform/shared.ts';

const Block = defineShared('publication', {
  /**
   * Any process that watches the VMM: 1 if the vCPU shall publish. The vCPU looks before a slice.
   */
  wanted: atomic32,
  pad0: bytes(60),
  /** The vCPU: number of the state that holds, 0 if none does. Publishes the state's slot. */
  published: atomic32,
  /** The vCPU: 1 from its first slice on. Whoever finds 0 knows that the guest has not run here. */
  begun: atomic32,
});

const Slot = defineShared('published state', {
  length: atomic32, // the vCPU, while the slot does not hold
});

/**
 * Room for a state. The largest one has 64 KiB of console output, the functions of 31 slots and
 * 1024 routes, and needs less than half.
 */
const SLOT_BYTES = 256 << 10;
/** Numbers go from 1 to this and begin anew. It is even, so the next number has the other slot. */
const LAST_NUMBER = 0x3fff_fffe;
/** In place of a number: the state that this image began with. Whoever watches the VMM has it. */
const GIVEN = LAST_NUMBER + 1;

export const PUBLICATION_BYTES = Block.size + 2 * SLOT_BYTES;

export interface PublishedState {
  readonly number: number;
  /** undefined: the state is the one that the VMM began with. */
  readonly bytes: Uint8Array | undefined;
}

export class Publication {
  readonly #words: Int32Array;
  readonly #slots: readonly { readonly words: Int32Array; readonly data: Uint8Array }[];

  constructor(part: SharedPart) {
    this.#words = int32s(part);
    const size = Math.floor((part.size - Block.size) / 128) * 64;
    this.#slots = [0, 1].map((number) => {
      const slot = within(part, Block.size + number * size, size);
      return { words: int32s(slot), data: uint8s(within(slot, Slot.size)) };
    });
  }

  get wanted(): boolean {
    return Atomics.load(this.#words, Block.word.wanted) === 1;
  }

  /** Any process may say so. `published` tells when the vCPU has begun. */
  set wanted(on: boolean) {
    Atomics.store(this.#words, Block.word.wanted, on ? 1 : 0);
  }

  /** The number of the state that holds; 0: none does. */
  get published(): number {
    return Atomics.load(this.#words, Block.word.published);
  }

  /** Whether the guest has run. */
  get begun(): boolean {
    return Atomics.load(this.#words, Block.word.begun) === 1;
  }

  /**
   * vCPU: the guest is about to run. After the first state holds: there is no moment in which it
   * has run and no state tells how far.
   */
  begin(): void {
    Atomics.store(this.#words, Block.word.begun, 1);
  }

  /** The number that the next state will have. */
  get next(): number {
    return (this.published % LAST_NUMBER) + 1;
  }

  /**
   * vCPU: publishes a state. It holds when this returns. ENOSPC: it is too large, and the one
   * before holds.
   */
  publish(state: Uint8Array): void {
    const number = this.next;
    const { words, data } = this.#slots[number & 1]!;
    if (state.length > data.length) throw enospc(`a state of ${state.length} bytes, ${data.length} have room`);
    data.set(state);
    words[Slot.word.length] = state.length;
    Atomics.store(this.#words, Block.word.published, number); // after the whole state
  }

  /**
   * vCPU: from here on the state holds that this image began with, and that whoever watches the VMM
   * has. Nothing has been published here before.
   */
  give(): void {
    Atomics.store(this.#words, Block.word.published, GIVEN);
  }

  /** vCPU: no state holds from here on. */
  withdraw(): void {
    Atomics.store(this.#words, Block.word.published, 0);
  }

  /** The state that holds; undefined if none does. Its writer is dead, or does nothing. */
  take(): PublishedState | undefined {
    const number = this.published;
    if (number === 0) return undefined;
    if (number === GIVEN) return { number, bytes: undefined };
    const { words, data } = this.#slots[number & 1]!;
    return { number, bytes: data.slice(0, words[Slot.word.length]!) };
  }
}
