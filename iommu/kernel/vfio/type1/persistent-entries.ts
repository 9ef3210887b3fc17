/**
 * The mappings of a container in a file that outlives the kernel: a record for each entry. An entry
 * is recorded when its translations are there, and the record goes before they do. So a crash leaves
 * translations without an entry, and never an entry without translations.
 */
import { einval, eio, enospc } from '../../../../platform/errno.ts';
import type { Sliced } from '../../../../platform/slices.ts';
import type { Task } from '../../core/task.ts';
import type { PersistentDomain } from '../../driver/domain.ts';
import { publishRecord, recordState, withdrawRecord } from '../../pkernfs/record.ts';
import type { EntryFile } from '../container-iommu.ts';
import { charge, testMemlock, uncharge } from './accounting.ts';
import { DmaEntry } from './dma-entry.ts';
import { invalidate, revalidate } from './vaddr.ts';
import type { VfioIommu } from './vfio-iommu.ts';

/** Words of a record: vpn and pfn in two halves, pages, rights, checksum; and one that is unused. */
const RECORD_WORDS = 8;
const VALUES = 6;

interface EntryRecord {
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

/** Records a new entry. EINVAL: its memory is not one run; ENOSPC. */
export function recordEntry({ entriesFile }: VfioIommu, entry: DmaEntry): void {
  const pfn = entry.runs[0]?.pfn;
  if (!entriesFile || pfn === undefined) return;
  let end = pfn;
  for (const run of entry.runs) {
    if (run.pfn !== end) throw einval('a persistent mapping is of memory that lies in one piece');
    end += run.nrPages;
  }
  entry.slot = entriesFile.add({ vpn: entry.vpn, pfn, nrPages: entry.nrPages, prot: entry.prot });
}

/** An entry is about to go; not with the kernel that ends. */
export function forgetEntry({ entriesFile, leaving }: VfioIommu, entry: DmaEntry): void {
  if (entry.slot === undefined || leaving) return;
  entriesFile!.remove(entry.slot);
  entry.slot = undefined;
}

/**
 * All entries of the file, as an earlier kernel has left them: pinned, charged to the caller, and
 * without a valid vaddr until MAP_DMA with VADDR. EIO: one of them is not in the tables, or its
 * memory is no file any more; ENOMEM. Nothing is restored then.
 */
export function* restoreEntries(iommu: VfioIommu, domain: PersistentDomain, task: Task): Sliced<void> {
  const done: DmaEntry[] = [];
  try {
    for (const record of iommu.entriesFile?.records() ?? []) {
      done.push(restoreEntry(iommu, domain, record, task));
      yield;
    }
  } catch (error) {
    for (const entry of done) {
      revalidate(iommu, entry);
      iommu.unlink(entry);
      iommu.dmaAvail++;
      uncharge(iommu, entry, entry.nrPages, task);
      for (const run of entry.runs) iommu.pinner.unpin(run);
      entry.mm.drop();
    }
    throw error;
  }
}

function restoreEntry(iommu: VfioIommu, domain: PersistentDomain, record: EntryRecord, task: Task): DmaEntry {
  const { slot, vpn, pfn, nrPages, prot } = record;
  const run = iommu.pinner.pinReserved(pfn, nrPages);
  if (!run) throw eio(`persistent mapping ${slot}: its memory is no file any more`);
  const entry = new DmaEntry({ vpn, nrPages, vaddrPage: 0, prot, mapper: task });
  try {
    domain.checkMapped(vpn, run, prot, entry);
    testMemlock(entry, nrPages, task);
    charge(iommu, entry, nrPages, task);
  } catch (error) {
    iommu.pinner.unpin(run);
    entry.mm.drop();
    throw error;
  }
  entry.runs.push(run);
  entry.iommuMapped = true;
  entry.slot = slot;
  iommu.dmaAvail--;
  iommu.link(entry);
  invalidate(iommu, entry);
  return entry;
}
