/**
 * The translations of one hart, by the place of their code in RAM, the vaddr at which it runs, and
 * the context.
 *
 * FENCE.I makes code that was written visible to fetches (unpriv-isa §6), whoever wrote it: this
 * hart, another one, a device by DMA. Until then a hart may go on with what it fetched before. So
 * nothing watches stores. At a FENCE.I the few regions in use are compared with their code in RAM.
 * If they are more, or one has changed, the jump caches are emptied, and each translation is
 * compared once, when it is looked up. (A Linux that boots executes 43 000 FENCE.Is in one loop.)
 */
import type { Memory } from '../memory.ts';
import type { Block } from './discover.ts';
import { COLD } from './workspace.ts';

/** Regions that are compared at a FENCE.I: some µs. */
const MOST_COMPARED = 32;

interface TranslatedRegion {
  readonly slot: number;
  /** What must be left of the budget when it is entered. */
  readonly least: number;
  /** Runs of RAM by their offset, and what they were. */
  readonly code: readonly { readonly start: number; readonly parcels: Uint16Array }[];
  /** The number of FENCE.Is after which its code was last compared. */
  fences: number;
  /** Its slot has a function, and the jump caches may have it. */
  shown: boolean;
  /** They may have it now. */
  inUse: boolean;
  valid: boolean;
}

/** A block where a translation can be entered. */
export interface Entry {
  readonly region: TranslatedRegion;
  readonly index: number;
  readonly pc: number;
  readonly context: number;
  /** Another one at the same place in RAM. */
  readonly next: Entry | undefined;
}

/** A new region. */
export interface Added {
  readonly slot: number;
  readonly least: number;
  /** The 16-bit parcels that were translated, by pc: all of `blocks`. */
  readonly code: ReadonlyMap<number, number>;
  /** All its code, and where it can be entered. */
  readonly blocks: readonly Block[];
  readonly entries: readonly Block[];
  /** A pc of it less this is its offset in RAM. */
  readonly delta: number;
  readonly context: number;
  readonly fences: number;
}

export class TranslationCache {
  /** By offset in RAM. */
  readonly #entries = new Map<number, Entry>();
  /** By slot. */
  readonly #regions: TranslatedRegion[] = [];
  /** As many as the table has. When all are used, all translations are dropped. */
  readonly #most: number;
  #slots = COLD + 1;
  /** Those that jump caches may have, unless they are too many. */
  readonly #inUse: TranslatedRegion[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  hasRoom(regions: number): boolean {
    return this.#slots + regions <= this.#most;
  }

  /** Takes the next slot. */
  nextSlot(): number {
    return this.#slots++;
  }

  /** The translation of the code at `offset` in RAM for this pc and context, shown or not. */
  find(offset: number, pc: number, context: number, memory: Memory, fences: number): Entry | undefined {
    for (let entry = this.#entries.get(offset); entry; entry = entry.next) {
      if (entry.pc !== pc || entry.context !== context || !entry.region.valid) continue;
      if (entry.region.fences !== fences && !isUnchanged(entry.region, memory)) {
        entry.region.valid = false;
        continue;
      }
      entry.region.fences = fences;
      return entry;
    }
    return undefined;
  }

  /** A jump cache has this region. */
  use(region: TranslatedRegion): void {
    if (region.inUse) return;
    region.inUse = true;
    this.#inUse.push(region);
  }

  /** HOT after a FENCE.I. False: the jump caches are to be emptied. */
  isInUseUnchanged(memory: Memory, fences: number): boolean {
    const inUse = this.#inUse;
    if (inUse.length <= MOST_COMPARED && inUse.every((region) => isUnchanged(region, memory))) {
      for (const region of inUse) region.fences = fences;
      return true;
    }
    for (const region of inUse) region.inUse = false;
    inUse.length = 0;
    return false;
  }

  add(added: Added, memory: Memory): void {
    const { slot, least, blocks, entries, delta, context, fences } = added;
    const code = blocks.map(({ pc, end }) => {
      const parcels = new Uint16Array((end - pc) / 2).map((_, i) => added.code.get(pc + 2 * i)!);
      return { start: pc - delta, parcels };
    });
    const region: TranslatedRegion = { slot, least, code, fences, shown: false, inUse: false, valid: true };
    this.#regions[slot] = region;
    for (const { pc, index } of entries) {
      const offset = pc - delta;
      if (this.find(offset, pc, context, memory, fences)) continue;
      this.#entries.set(offset, { region, index, pc, context, next: live(this.#entries.get(offset)) });
    }
  }

  /** The jump caches may have the region of this slot. */
  show(slot: number): void {
    this.#regions[slot]!.shown = true;
  }

  /** Returns the slots that are free now: from COLD + 1 to there. */
  clear(): number {
    const slots = this.#slots;
    this.#entries.clear();
    this.#inUse.length = 0;
    this.#regions.length = 0;
    this.#slots = COLD + 1;
    return slots;
  }
}

/** A list without what is not valid any more. */
function live(entry: Entry | undefined): Entry | undefined {
  if (!entry) return undefined;
  const next = live(entry.next);
  if (!entry.region.valid) return next;
  return next === entry.next ? entry : { ...entry, next };
}

/** HOT after a FENCE.I. */
function isUnchanged({ code }: TranslatedRegion, { u16 }: Memory): boolean {
  for (const { start, parcels } of code) {
    for (let i = 0, at = start / 2; i < parcels.length; i++, at++) if (parcels[i] !== u16[at]) return false;
  }
  return true;
}
