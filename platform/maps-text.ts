/**
 * Reads the text of /proc/<pid>/maps, for Linux before 6.11, which cannot be asked for one mapping.
 * The text is read piece by piece, only as far as needed. It is kept until forget(), so that one
 * call over thousands of mappings reads it once.
 */
import { readSync } from 'node:fs';

import { parseMapsLine, type Vma } from './vma.ts';

const PIECE_BYTES = 65536;

export class MapsText {
  readonly #fd: number;
  /** In order of their vaddrs, as the text is. */
  #vmas: Vma[] = [];
  #at = 0;
  /** The last line, which may be cut. */
  #rest = '';
  #complete = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Drops the text that was read: the next find() reads it anew. */
  forget(): void {
    this.#vmas = [];
    this.#at = 0;
    this.#rest = '';
    this.#complete = false;
  }

  /** The mapping that covers `vaddr`; undefined where there is none. */
  find(vaddr: number): Vma | undefined {
    while (!this.#complete && (this.#vmas.at(-1)?.end ?? 0) <= vaddr) this.#readPiece();
    const vmas = this.#vmas;
    let low = 0;
    let high = vmas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (vmas[middle]!.end <= vaddr) low = middle + 1;
      else high = middle;
    }
    const vma = vmas[low];
    return vma && vma.start <= vaddr ? vma : undefined;
  }

  /** After a find(): there was no text at all. The address space is dead. */
  get isEmpty(): boolean {
    return this.#complete && this.#at === 0;
  }

  #readPiece(): void {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const count = readSync(this.#fd, piece, 0, PIECE_BYTES, this.#at);
    this.#at += count;
    this.#complete = count === 0;
    const lines = (this.#rest + piece.toString('latin1', 0, count)).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const vma = parseMapsLine(line);
      if (vma) this.#vmas.push(vma);
    }
  }
}
