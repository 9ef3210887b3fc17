/**
 * What the keeper knows, in a memory object of the shard's: the kernel may be replaced, and the
 * keeper with it, between any two of its steps. Each save is whole or not there: it goes into the
 * slot that is not the newest, and its number is stored last.
 */
import { Mapping } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { atomic32, bytes, defineShared } from '../../../platform/shared.ts';
import type { RandomState } from '../random.ts';
import { MEMORY_FD, NR_GUARDED_PAGES } from './assignment.ts';
import type { GuardState } from './guarded-memory.ts';
import type { RingPlan } from './ring-watch.ts';

/** A mapping of pages [page, page + nrPages) of the file. */
export interface Kept {
  readonly vpn: number;
  readonly nrPages: number;
  readonly page: number;
  readonly write: boolean;
}

/** A call under way. A mapping that is being removed is among the entries, a new one is not. */
export interface Pending {
  readonly call: 'MAP_DMA' | 'UNMAP_DMA';
  readonly entry: Kept;
}

export interface KeeperState {
  /** How many kernels there were before the one that all this is in. */
  readonly kexecs: number;
  /** The container's mappings outlive the kernel, too, and not only its page tables. */
  readonly withEntries: boolean;
  readonly random: RandomState;
  readonly entries: readonly Kept[];
  readonly pending: Pending | null;
  readonly guard: GuardState;
  /** The ring that the capture fills, all of it mapped. */
  readonly ring: RingPlan | null;
  /** Interrupts since the first sum; null: they cannot be counted over this kexec. */
  readonly interrupts: { readonly sentBefore: number; readonly counted: number } | null;
}

const Header = defineShared('keeper state', {
  saves: atomic32, // keeper: number of the newest save; publishes its slot
  pad: bytes(60),
});

const SLOT_BYTES = ((NR_GUARDED_PAGES * PAGE_SIZE) / 2 - Header.size) & ~63;
const LENGTH_BYTES = 4;

export class KeeperStore {
  readonly #words: Int32Array;
  readonly #buffer: SharedArrayBuffer;

  constructor(fd = MEMORY_FD) {
    this.#buffer = new Mapping(fd, NR_GUARDED_PAGES * PAGE_SIZE).buffer;
    this.#words = new Int32Array(this.#buffer);
  }

  #slot(save: number): number {
    return Header.size + (save % 2) * SLOT_BYTES;
  }

  /** Undefined: nothing was ever saved. */
  load(): KeeperState | undefined {
    const saves = Atomics.load(this.#words, Header.word.saves); // pairs with the store in save
    if (saves === 0) return undefined;
    const at = this.#slot(saves);
    const length = this.#words[at / 4]!;
    const text = Buffer.from(new Uint8Array(this.#buffer, at + LENGTH_BYTES, length)).toString();
    return JSON.parse(text) as KeeperState;
  }

  save(state: KeeperState): void {
    const saves = Atomics.load(this.#words, Header.word.saves) + 1;
    const at = this.#slot(saves);
    const text = Buffer.from(JSON.stringify(state));
    if (text.length > SLOT_BYTES - LENGTH_BYTES) throw new RangeError(`${text.length} bytes do not fit into a slot`);
    new Uint8Array(this.#buffer, at + LENGTH_BYTES, text.length).set(text);
    this.#words[at / 4] = text.length;
    Atomics.store(this.#words, Header.word.saves, saves); // pairs with the load in load
  }
}
