/**
 * The dirty bitmap of one entry. It has one bit per smallest IOMMU page, and one spare u64 word
 * because a report shifts the bits in place. The shift leaves bits beyond the entry's own. Real
 * kernels report these bits later (DRT-5), so they stay here too.
 */

const WORD = 32;

export class DirtyBitmap {
  readonly nrBits: number;
  readonly #words: Uint32Array;

  constructor(nrBits: number) {
    this.nrBits = nrBits;
    this.#words = new Uint32Array(2 * (Math.ceil(nrBits / 64) + 1));
  }

  /** bitmap_set */
  set(first: number, count = 1): void {
    this.#fill(first, first + count, true);
  }

  /** bitmap_set of the entry's own bits. */
  setAll(): void {
    this.#fill(0, this.nrBits, true);
  }

  /** bitmap_clear of the entry's own bits. The bits beyond them stay. */
  clearAll(): void {
    this.#fill(0, this.nrBits, false);
  }

  #fill(first: number, end: number, on: boolean): void {
    const words = this.#words;
    let at = first;
    while (at < end) {
      const bit = at % WORD;
      const count = Math.min(WORD - bit, end - at);
      if (count === WORD) {
        const last = Math.floor(end / WORD);
        words.fill(on ? 0xffff_ffff : 0, at / WORD, last);
        at = last * WORD;
        continue;
      }
      const mask = (2 ** count - 1) * 2 ** bit;
      const index = (at - bit) / WORD;
      words[index] = on ? words[index]! | mask : words[index]! & ~mask;
      at += count;
    }
  }

  /** bitmap_shift_left in place, by less than 64, over the words that nrBits + shift bits need. */
  shiftLeft(shift: number): void {
    const words = this.#words;
    const skip = Math.floor(shift / WORD);
    const bits = shift % WORD;
    for (let i = 2 * Math.ceil((this.nrBits + shift) / 64) - 1; i >= 0; i--) {
      const upper = i - skip >= 0 ? words[i - skip]! : 0;
      const lower = i - skip >= 1 ? words[i - skip - 1]! : 0;
      words[i] = bits === 0 ? upper : (upper << bits) | (lower >>> (WORD - bits));
    }
  }

  /**
   * ORs a whole u64 into the first word: all 64 bits of it, and not only those below the entry's
   * own (DRT-5).
   */
  orFirstWord(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    this.#words[0]! |= view.getUint32(0, true);
    this.#words[1]! |= view.getUint32(4, true);
  }

  /** The first whole u64 words, enough for nrBits + shift bits, as the user gets them. */
  bytes(shift: number): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, bitmapBytes(this.nrBits + shift));
  }
}

/** DIRTY_BITMAP_BYTES: whole u64 words. */
export const bitmapBytes = (nrBits: number): number => Math.ceil(nrBits / 64) * 8;
