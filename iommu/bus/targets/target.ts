/** A target answers in a range that is not RAM. Each kind has its own file; range.ts chooses. */

/**
 * The accesses that a target answers. `at` counts bytes from the range's start, and no access
 * reaches beyond its end.
 */
export interface Target {
  /** Copies bytes out. False when nothing answers now. */
  read(at: number, dst: Uint8Array): boolean;
  /** Copies bytes in. False when nothing answers now. */
  write(at: number, src: Uint8Array): boolean;
  /** `at` is a multiple of 4. Undefined when nothing answers now. */
  read32(at: number): number | undefined;
  /** `at` is a multiple of 4. False when nothing answers now. */
  write32(at: number, value: number): boolean;
}

/** A target of plain bytes: a 32-bit access moves four of them. */
export abstract class ByteTarget implements Target {
  abstract read(at: number, dst: Uint8Array): boolean;
  abstract write(at: number, src: Uint8Array): boolean;

  read32(at: number): number | undefined {
    const word = new Uint8Array(4);
    return this.read(at, word) ? new DataView(word.buffer).getUint32(0, true) : undefined;
  }

  write32(at: number, value: number): boolean {
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, value, true);
    return this.write(at, word);
  }
}
