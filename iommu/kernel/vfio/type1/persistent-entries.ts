/**
 * The mappings of a container in a file that outlives the kernel: a record for each entry. An entry
 * is recorded when its translations are there, and the record goes before they do. So a crash
 * leaves translations without an entry, and never an entry without translations.
 */
import { eio, enospc } from '../../../../platform/errno.ts';
import { publishRecord, recordState, withdrawRecord } from '../../pkernfs/record.ts';
import type { EntryFile } from '../container-iommu.ts';

/**
 * Words of a record: vpn and pfn in two halves, pages, rights, checksum; and one that is unused.
 */
const RECORD_WORDS = 8;
const VALUES = 6;

export interface EntryRecord {
  readonly slot: number;
  readonly vpn: number;
  readonly pfn: number;
  readonly nrPages: number;
  readonly prot: number;
}

export class PersistentEntries {
  readonly #words: Int32Array;
  readonly #name: string;
  readonly #free: number[] = [];
  #next = 0;

  constructor({ name, words }: EntryFile) {
    this.#name = name;
    this.#words = words;
  }

  /** EIO: a record is damaged. */
  *records(): Generator<EntryRecord, void> {
    const words = this.#words;
    const number = (at: number): number => words[at + 1]! * 2 ** 32 + (words[at]! >>> 0);
    for (let slot = 0; slot < words.length / RECORD_WORDS; slot++) {
      const at = slot * RECORD_WORDS;
      const state = recordState(words, at, VALUES);
      if (state === 'damaged') throw eio(`${this.#name}: mapping ${slot} is damaged`);
      if (state === 'none') continue;
      yield { slot, vpn: number(at), pfn: number(at + 2), nrPages: words[at + 4]!, prot: words[at + 5]! };
    }
  }

  /** Returns the slot. ENOSPC. */
  add({ vpn, pfn, nrPages, prot }: Omit<EntryRecord, 'slot'>): number {
    const slot = this.#free.pop() ?? this.#unused();
    const halves = (value: number): [number, number] => [value | 0, Math.floor(value / 2 ** 32)];
    publishRecord(this.#words, slot * RECORD_WORDS, [...halves(vpn), ...halves(pfn), nrPages, prot]);
    return slot;
  }

  #unused(): number {
    for (; this.#next < this.#words.length / RECORD_WORDS; this.#next++) {
      if (recordState(this.#words, this.#next * RECORD_WORDS, VALUES) === 'none') return this.#next++;
    }
    throw enospc(`${this.#name} is full`);
  }

  remove(slot: number): void {
    withdrawRecord(this.#words, slot * RECORD_WORDS, VALUES);
    this.#free.push(slot);
  }
}
