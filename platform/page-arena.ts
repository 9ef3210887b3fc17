/**
 * Pages of other processes' memory objects, side by side in one shared buffer. Each page is one
 * object of one page. Threads that have the buffer see all of them, whichever thread mapped them.
 */
import { enomem } from './errno.ts';
import { close } from './libc/fd.ts';
import { addSeals, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK } from './libc/memfd.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  PROT_READ,
  PROT_WRITE,
  vaddrOf,
} from './libc/mmap.ts';
import { createMemory } from './memory.ts';
import { PAGE_SIZE } from './page.ts';
import type { SharedPart } from './shared.ts';

/** A page that two processes share. */
export interface SharedPage {
  readonly part: SharedPart;
  /**
   * Takes the page away from this process. No thread may use the part after that: it may become
   * another object's.
   */
  release(): void;
}

export class PageArena {
  readonly #buffer: SharedArrayBuffer;
  readonly #start: number;
  readonly #free: number[] = [];
  readonly #nrPages: number;
  #used = 0;

  /** `buffer` is that of a Reservation, and nothing else uses it. */
  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    this.#nrPages = Math.floor(buffer.byteLength / PAGE_SIZE);
    this.#start = vaddrOf(new Uint8Array(buffer));
  }

  /** Maps the first page of an object. The caller may close its fd. ENOMEM without room. */
  map(fd: number): SharedPage {
    return this.#place((index) => this.#map(index, fd));
  }

  /**
   * Makes an object of one zero page and maps it here. Its size is sealed, so a touch of the page
   * is never a SIGBUS, whatever the other process does. `pass` gets the object's fd, to hand it to
   * the other process; the fd is closed when it returns. ENOMEM without room; EMFILE, ENFILE.
   */
  make(name: string, pass: (fd: number, part: SharedPart) => void): SharedPage {
    return this.#place((index) => {
      const fd = createMemory(name, PAGE_SIZE);
      try {
        addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        this.#map(index, fd);
        pass(fd, this.#part(index));
      } finally {
        close(fd);
      }
    });
  }

  #map(index: number, fd: number): void {
    // SAFETY: the page is one of the Reservation's, and this object's until release().
    mmap(this.#vaddr(index), PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  }

  /** Takes a place and fills it. */
  #place(fill: (index: number) => void): SharedPage {
    const index = this.#free.pop() ?? this.#used++;
    if (index >= this.#nrPages) {
      this.#used--;
      throw enomem(`${this.#nrPages} pages are shared`);
    }
    try {
      fill(index);
    } catch (error) {
      this.#release(index);
      throw error;
    }
    return { part: this.#part(index), release: () => this.#release(index) };
  }

  #part(index: number): SharedPart {
    return { buffer: this.#buffer, offset: index * PAGE_SIZE, size: PAGE_SIZE };
  }

  #vaddr(index: number): number {
    return this.#start + index * PAGE_SIZE;
  }

  #release(index: number): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    // SAFETY: as in make; a late touch finds a zero page.
    mmap(this.#vaddr(index), PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    this.#free.push(index);
  }
}
