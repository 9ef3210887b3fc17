/**
 * A pool of mappings for memory objects that come and go. When an object goes, the next one uses
 * its address space at once, whatever its size. V8 would give the address space back only when
 * every thread that ever had the buffer has collected its garbage.
 */
import { einval, enomem } from './errno.ts';
import { MAX_MAPPING, Mapping, Reservation } from './memory.ts';

/**
 * The most reservations at once: they fit into the 128 TiB of a process with room to spare. Near
 * the limit of the process V8 would collect garbage in vain for each new one.
 */
export const MAX_RESERVATIONS = 8192;

export interface PooledMapping {
  /** May be longer than what is mapped. */
  readonly buffer: SharedArrayBuffer;
  /**
   * Drops the object, and gives the address space back to the pool. No thread may use the buffer
   * after that.
   */
  release(): void;
}

export class MappingPool {
  readonly #most: number;
  readonly #free: Reservation[] = [];
  #reserved = 0;

  constructor(most = MAX_RESERVATIONS) {
    this.#most = most;
  }

  /**
   * Maps the first `length` bytes of `fd`; errors as Mapping. ENOMEM also when all reservations are
   * in use.
   */
  map(fd: number, length: number): PooledMapping {
    if (length > MAX_MAPPING) throw einval(`cannot map ${length} bytes: a mapping holds at most 4 GiB`);
    const reservation = this.#take(length);
    let mapping: Mapping;
    try {
      reservation.growTo(length);
      mapping = new Mapping(fd, length, 0, reservation);
    } catch (error) {
      this.#free.push(reservation);
      throw error;
    }
    return {
      buffer: mapping.buffer,
      release: () => {
        mapping.release();
        this.#free.push(reservation);
      },
    };
  }

  #take(length: number): Reservation {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#reserved >= this.#most) throw enomem(`${this.#most} memory objects are mapped`);
    const fresh = new Reservation(length, MAX_MAPPING);
    this.#reserved++;
    return fresh;
  }
}
