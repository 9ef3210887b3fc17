/** JSON lines on file descriptors. Reads block, since a client waits for nothing else meanwhile. */
import { readSync } from 'node:fs';

import { writeAll } from '../../../platform/whole-file.ts';

const CHUNK_BYTES = 65536;

export class LineReader {
  readonly #fd: number;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #rest = Buffer.alloc(0);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The value of the next line; undefined at the end of the file. */
  next(): unknown {
    for (;;) {
      const end = this.#rest.indexOf(10);
      if (end >= 0) {
        const line = this.#rest.subarray(0, end).toString('utf8');
        this.#rest = this.#rest.subarray(end + 1);
        return JSON.parse(line);
      }
      const count = readSome(this.#fd, this.#chunk);
      if (count === 0) return undefined;
      this.#rest = Buffer.concat([this.#rest, this.#chunk.subarray(0, count)]);
    }
  }
}

function readSome(fd: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error; // a signal of the script
    }
  }
}

export function writeLine(fd: number, value: unknown): void {
  const line = Buffer.from(`${JSON.stringify(value)}\n`);
  writeAll(fd, line);
}
