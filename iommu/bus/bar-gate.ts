/**
 * The gate says whether the memory BARs of a function answer other devices. It lies in shared
 * memory, and the function's decoder and the kernel each hold a bolt of it. A device worker looks
 * at the gate inside a transaction. So once the kernel has closed the gate and a fence has
 * returned, no device uses the BARs.
 */
import { atomic32, bytes, defineShared } from '../../platform/shared.ts';

const Gate = defineShared('bar gate', {
  decoding: atomic32, // written by the function's worker: COMMAND.Memory Space is set
  pad0: bytes(60),
  withdrawn: atomic32, // written by the kernel: the bytes are not in the BARs' objects now
  returning: atomic32, // written by the kernel: 1 while containers still let go of the BARs
});

export function createBarGate(): SharedArrayBuffer {
  return new SharedArrayBuffer(Gate.size);
}

export class BarGate {
  readonly #words: Int32Array;

  constructor(gate: SharedArrayBuffer) {
    this.#words = new Int32Array(gate);
  }

  /** Function: COMMAND.Memory Space. */
  setDecoding(on: boolean): void {
    Atomics.store(this.#words, Gate.word.decoding, on ? 1 : 0); // pairs with the load in open
  }

  /** Kernel. Transactions that began before this call may be under way until the next fence. */
  setWithdrawn(on: boolean): void {
    Atomics.store(this.#words, Gate.word.withdrawn, on ? 1 : 0); // pairs with the load in open
  }

  /** Kernel. As setWithdrawn; it is for devices only. */
  setReturning(on: boolean): void {
    Atomics.store(this.#words, Gate.word.returning, on ? 1 : 0); // pairs with the load in open
  }

  /** Requester, inside a transaction. */
  open(): boolean {
    const words = this.#words;
    const { decoding, withdrawn, returning } = Gate.word;
    const kept = Atomics.load(words, withdrawn) + Atomics.load(words, returning);
    return Atomics.load(words, decoding) === 1 && kept === 0;
  }
}
