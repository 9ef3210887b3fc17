/**
 * The cost to the host of memory on the board, in shares of its clients (fair-share.ts). The first
 * client to pin the memory pays for it.
 */
import { MAX_RESERVATIONS } from '../../../platform/mapping-pool.ts';
import { FairShare } from '../core/fair-share.ts';

const GIB = 2 ** 30;
/** The board's pa range for clients' memory is 64 TiB, less what lies below. */
const PA_GIB = 2 ** 16 - 64;
/** Fds of an object: one here, and another on the board if the object cannot be mapped. */
const OBJECT_FDS = 2;
const WINDOW_FDS = 1;

export interface Capacity {
  /** Fds of this process for memory. Default: any number. */
  readonly fds?: number;
  /** Objects that can be mapped at a time. */
  readonly objects?: number;
}

export class BoardShares {
  readonly #fds: FairShare;
  readonly #objects: FairShare;
  readonly #pa = new FairShare('physical addresses', PA_GIB);

  constructor({ fds = Number.POSITIVE_INFINITY, objects = MAX_RESERVATIONS }: Capacity = {}) {
    this.#fds = new FairShare('file descriptors', fds);
    this.#objects = new FairShare('mapped memory objects', objects);
  }

  /** Takes the cost of a memory object of `size` bytes. The result gives it back. ENOMEM. */
  takeObject(pid: number, size: number): () => void {
    return takeAll(pid, [
      [this.#objects, 1],
      [this.#fds, OBJECT_FDS],
      [this.#pa, Math.ceil(size / GIB)],
    ]);
  }

  /** The same for a range of a process' memory. */
  takeWindow(pid: number, size: number): () => void {
    return takeAll(pid, [
      [this.#fds, WINDOW_FDS],
      [this.#pa, Math.ceil(size / GIB)],
    ]);
  }
}

function takeAll(pid: number, wanted: readonly (readonly [FairShare, number])[]): () => void {
  const taken: (readonly [FairShare, number])[] = [];
  const giveBack = (): void => {
    for (const [share, amount] of taken.splice(0)) share.giveBack(pid, amount);
  };
  try {
    for (const [share, amount] of wanted) {
      share.take(pid, amount);
      taken.push([share, amount]);
    }
  } catch (error) {
    giveBack();
    throw error;
  }
  return giveBack;
}
