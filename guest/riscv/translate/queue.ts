/**
 * Hot code on its way to a translation. The way has small steps, so that the hart can look at its
 * interrupts between two of them: the code of one region is made; a module is made of some; one
 * region of it is shown to the jump caches, so that V8 compiles at most one function at a time (it
 * compiles a function when it is called first).
 */
import type { Context } from './emitter.ts';
import type { Region } from './region.ts';
import type { Body } from './wasm.ts';

/**
 * So many regions come into one module, because a module takes 130 µs beside its code; unless one
 * of them is so many times as hot as hot.
 */
const BATCH = 8;
/** And no more code than this, unless it is one region's: V8 reads all of it, in some 0.5 ms. */
const BATCH_BYTES = 16_384;

export interface Wanted {
  /** The cache line of code that is hot. */
  readonly line: number;
  readonly pc: number;
  /** pc less this is the offset in RAM. */
  readonly delta: number;
  readonly context: Context;
  readonly paged: boolean;
}

/** A region, as far as it is, and its cache line of code. */
interface Under {
  readonly line: number;
  readonly made: Made;
}

/** A region and its function. */
export interface Made {
  readonly region: Region;
  readonly body: Body;
}

export interface Steps {
  /** A region for hot code; undefined: there is one, or nothing there can be translated. */
  make(wanted: Wanted): Made | undefined;
  /** Puts functions of the regions into the table; false: there is no memory for them. */
  compile(made: readonly Made[]): boolean;
  /** The jump caches may have the region from now on. */
  show(region: Region): void;
}

export class Queue {
  readonly #steps: Steps;
  /** Waits for more, by its cache line of code. */
  readonly #wanted = new Map<number, Wanted>();
  readonly #due: Wanted[] = [];
  #made: Under[] = [];
  #bytes = 0;
  #compiled: Under[] = [];
  /** The cache lines of all from #due to #compiled. */
  readonly #busy = new Set<number>();

  constructor(steps: Steps) {
    this.#steps = steps;
  }

  /** Whether there is a step to be done. */
  get isDue(): boolean {
    return this.#due.length + this.#made.length + this.#compiled.length > 0;
  }

  /** Whether code of this cache line waits for more. */
  waits(line: number): boolean {
    return this.#wanted.has(line);
  }

  /** Whether steps are being done for code of this cache line. */
  isBusyWith(line: number): boolean {
    return this.#busy.has(line);
  }

  /** Hot code, of whose cache line none is here. It is made with others. */
  want(wanted: Wanted): void {
    this.#wanted.set(wanted.line, wanted);
    if (this.#wanted.size === BATCH) this.hurry();
  }

  /** All that waits is due. */
  hurry(): void {
    this.#due.push(...this.#wanted.values());
    for (const line of this.#wanted.keys()) this.#busy.add(line);
    this.#wanted.clear();
  }

  /** Does one step, if one is due. */
  step(): void {
    const shown = this.#compiled.shift();
    if (shown) {
      this.#busy.delete(shown.line);
      this.#steps.show(shown.made.region);
      return;
    }
    const isFull = this.#made.length === BATCH || this.#bytes >= BATCH_BYTES;
    const wanted = isFull ? undefined : this.#due.shift();
    if (wanted) this.#make(wanted);
    else if (this.#made.length > 0) this.#compile();
  }

  #make(wanted: Wanted): void {
    const { line } = wanted;
    const made = this.#steps.make(wanted);
    if (made) {
      this.#made.push({ line, made });
      this.#bytes += made.body.code.length;
    } else this.#busy.delete(line);
  }

  #compile(): void {
    const under = this.#made;
    this.#made = [];
    this.#bytes = 0;
    if (this.#steps.compile(under.map(({ made }) => made))) this.#compiled = under;
    else for (const { line } of under) this.#busy.delete(line);
  }

  clear(): void {
    this.#wanted.clear();
    this.#due.length = 0;
    this.#made = [];
    this.#bytes = 0;
    this.#compiled = [];
    this.#busy.clear();
  }
}
