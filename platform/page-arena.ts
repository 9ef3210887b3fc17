/**
 * Memory objects of a few pages that this process shares with others, side by side in one shared
 * buffer. Threads that have the buffer see all of them, whichever thread mapped them.
 */
import { fstatSync } from 'node:fs';
import { einval, enomem } from './errno.ts';
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

/** A page, or a few, that two processes share. */
export interface SharedPage {
  readonly part: SharedPart;
  /**
   * Takes the memory away from this process. No thread may use the part after that: it may become
   * another object's.
   */
  release(): void;
}

/** A place that is a private zero page until an object is there. */
export interface ReservedPage extends SharedPage {
  /** Maps the first page of an object. The caller may close its fd. Once. EINVAL: it has none. */
  fill(fd: number): void;
}

export class PageArena {
  readonly #buffer: SharedArrayBuffer;
  readonly #start: number;
  readonly #free: number[] = [];
  readonly #most: number;
  readonly #nrPlaces: number;
  #used = 0;

  /**
   * `buffer` is that of a Reservation, and nothing else uses it. `most`: the most pages of an
   * object; it is what each object takes of the buffer.
   */
  constructor(buffer: SharedArrayBuffer, most = 1) {
    this.#buffer = buffer;
    this.#most = most;
    this.#nrPlaces = Math.floor(buffer.byteLength / (most * PAGE_SIZE));
    this.#start = vaddrOf(new Uint8Array(buffer));
  }

  /**
   * Maps the pages of an object that another process has made, or the first ones of them. The
   * caller may close its fd. ENOMEM without room; EINVAL: it has no page.
   */
  map(fd: number): SharedPage {
    const nrPages = Math.min(this.#most, Math.floor(fstatSync(fd).size / PAGE_SIZE));
    if (nrPages === 0) throw einval('a shared object without a page');
    return this.#place(nrPages, (index) => this.#map(index, nrPages, fd));
  }

  /**
   * Takes a place of one page for an object that comes later: threads that have its part need not
   * be told. ENOMEM without room.
   */
  reserve(): ReservedPage {
    let taken = 0;
    const page = this.#place(1, (index) => {
      taken = index;
    });
    const fill = (fd: number): void => {
      if (fstatSync(fd).size < PAGE_SIZE) throw einval('a shared object without a page');
      this.#map(taken, 1, fd);
    };
    return { ...page, fill };
  }

  /**
   * Makes an object of zero pages and maps it here. Its size is sealed, so a touch of a page is
   * never a SIGBUS, whatever the other process does. `pass` gets the object's fd, to hand it to the
   * other process; the fd is closed when it returns. ENOMEM without room; EMFILE, ENFILE.
   */
  make(name: string, pass: (fd: number, part: SharedPart) => void, nrPages = 1): SharedPage {
    return this.#place(nrPages, (index) => {
      const fd = createMemory(name, nrPages * PAGE_SIZE);
      try {
        addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        this.#map(index, nrPages, fd);
        pass(fd, this.#part(index, nrPages));
      } finally {
        close(fd);
      }
    });
  }

  #map(index: number, nrPages: number, fd: number): void {
    // SAFETY: the pages are some of the Reservation's, and this object's until release().
    mmap(this.#vaddr(index), nrPages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  }

  /** Takes a place and fills it. */
  #place(nrPages: number, fill: (index: number) => void): SharedPage {
    const index = this.#free.pop() ?? this.#used++;
    if (index >= this.#nrPlaces) {
      this.#used--;
      throw enomem(`${this.#nrPlaces} objects are shared`);
    }
    try {
      fill(index);
    } catch (error) {
      this.#release(index);
      throw error;
    }
    return { part: this.#part(index, nrPages), release: () => this.#release(index) };
  }

  #part(index: number, nrPages: number): SharedPart {
    return { buffer: this.#buffer, offset: index * this.#most * PAGE_SIZE, size: nrPages * PAGE_SIZE };
  }

  #vaddr(index: number): number {
    return this.#start + index * this.#most * PAGE_SIZE;
  }

  #release(index: number): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    // SAFETY: as in make; a late touch finds a zero page.
    mmap(this.#vaddr(index), this.#most * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    this.#free.push(index);
  }
}
