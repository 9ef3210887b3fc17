/**
 * Model of the locked pages that the emulated kernel counts for this process' mappings (ACC-3…6).
 * The count is per image, because an exec brings a new address space. Images before `taskImage`
 * were another task, which has ended: nothing is uncharged for it (ACC-5).
 */
import { type ProfileName, profileOf } from '../../../iommu/kernel/core/profile.ts';
import { hasIpcLock } from '../../../platform/process-rights.ts';
import type { Answer } from './caller.ts';
import type { Entry } from './mapping-table.ts';

export class Accounting {
  readonly #movesWithVaddr: boolean;
  readonly #image: number;
  readonly #taskImage: number;
  readonly #capable = hasIpcLock(process.pid);
  /**
   * Pages charged to this image. The count is below 0 when the kernel has subtracted pages that
   * were charged to an earlier image (RACE-4).
   */
  lockedPages = 0;

  constructor(profile: ProfileName, image: number, taskImage = 0) {
    this.#taskImage = taskImage;
    this.#movesWithVaddr = profileOf(profile).mapVaddrMovesCharge;
    this.#image = image;
  }

  /** The expected answer to MAP_DMA of `nrPages` pages that can be pinned. */
  answerToMap(nrPages: number): Answer {
    return this.#exceeds(1) || this.#exceeds(nrPages) ? 'ENOMEM' : 0;
  }

  /** The expected answer to MAP_DMA(VADDR) of an invalid entry. */
  answerToUpdate({ image, nrPages }: Entry): Answer {
    return this.#movesWithVaddr && image !== this.#image && this.#exceeds(nrPages) ? 'ENOMEM' : 0;
  }

  /**
   * The host has no limit. But a count below zero is read as a huge one, which exceeds any limit.
   */
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
    const isCharged = this.#movesWithVaddr ? image === this.#image : image >= this.#taskImage;
    if (isCharged) this.lockedPages -= nrPages;
  }
}
