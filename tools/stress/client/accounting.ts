/**
 * Locked pages of this process as its kernel counts them for mappings (ACC-3…6): per image, because
 * an exec brings a new address space.
 */
import { type ProfileName, profileOf } from '../../../iommu/kernel/core/profile.ts';
import { hasIpcLock } from '../../../platform/process.ts';
import type { Answer } from './caller.ts';
import type { Entry } from './mapping-table.ts';

export class Accounting {
  readonly #movesWithVaddr: boolean;
  readonly #image: number;
  readonly #capable = hasIpcLock(process.pid);
  /**
   * Charged to this image; below 0 where the kernel has taken off what an earlier image was charged
   * for (RACE-4).
   */
  lockedPages = 0;

  constructor(profile: ProfileName, image: number) {
    this.#movesWithVaddr = profileOf(profile).mapVaddrMovesCharge;
    this.#image = image;
  }

  /** What MAP_DMA of so many pages that can be pinned says. */
  answerToMap(nrPages: number): Answer {
    return this.#exceeds(1) || this.#exceeds(nrPages) ? 'ENOMEM' : 0;
  }

  /** What MAP_DMA(VADDR) of an invalid entry says. */
  answerToUpdate({ image, nrPages }: Entry): Answer {
    return this.#movesWithVaddr && image !== this.#image && this.#exceeds(nrPages) ? 'ENOMEM' : 0;
  }

  /** The host has no limit; but a count below zero is a huge one, and more than any limit. */
  #exceeds(more: number): boolean {
    return !this.#capable && this.lockedPages + more < 0;
  }

  mapped({ nrPages }: Entry): void {
    this.lockedPages += nrPages;
  }

  updated(entry: Entry): void {
    if (!this.#movesWithVaddr || entry.image === this.#image) return;
    this.lockedPages += entry.nrPages;
    entry.image = this.#image;
  }

  unmapped({ image, nrPages }: Entry): void {
    if (!this.#movesWithVaddr || image === this.#image) this.lockedPages -= nrPages;
  }
}
