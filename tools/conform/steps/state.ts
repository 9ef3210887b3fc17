/**
 * The things that the script of a case has named in one process: fds, addresses, memory objects.
 * Threads work on a copy and send their changes back. A fork goes on with a copy of its own. An
 * exec hands the state to the next image.
 */

/** Memory made by the step `mem` or `bar`. Sizes are in bytes. */
export interface Memory {
  /** Fd of the object behind the memory; null for private memory. */
  readonly fd: number | null;
  readonly size: number;
  readonly prot: number;
}

/**
 * A mapping made by the step `bar`: `size` bytes at `vaddr`, from `offset` of the device's fd on.
 */
export interface BarWindow {
  readonly vaddr: number;
  readonly size: number;
  readonly fd: number;
  readonly offset: number;
}

export type Change =
  | { readonly fd: string; readonly number: number | null }
  | { readonly symbol: string; readonly vaddr: number; readonly memory: Memory | null }
  | { readonly bar: BarWindow }
  | { readonly nextVaddr: number }
  /** An empty handler is installed. */
  | { readonly signal: number };

export interface SavedState {
  readonly fds: Readonly<Record<string, number>>;
  readonly symbols: Readonly<Record<string, number>>;
  readonly memories: Readonly<Record<string, Memory>>;
  readonly bars: readonly BarWindow[];
  readonly nextVaddr: number;
  /** Signals with a handler. */
  readonly signals: readonly number[];
}

/**
 * Start of our part of the vaddr space. Node and libc map nothing there, so a fork can have
 * everything at the same vaddr.
 */
export const FIRST_VADDR = 0x1000_0000_0000;
/** End of our part of the vaddr space: [FIRST_VADDR, END_VADDR). */
export const END_VADDR = 0x1100_0000_0000;

const NOTHING: SavedState = { fds: {}, symbols: {}, memories: {}, bars: [], nextVaddr: FIRST_VADDR, signals: [] };

/** A fd that is never open. A name without a fd gets this number. */
const NO_FD = 0x3fff_ffff;

export class State {
  readonly #fds: Map<string, number>;
  readonly #symbols: Map<string, number>;
  readonly #memories: Map<string, Memory>;
  #bars: readonly BarWindow[];
  #nextVaddr: number;
  readonly #signals: Set<number>;
  #changes: Change[] = [];

  constructor(saved: SavedState = NOTHING) {
    this.#fds = new Map(Object.entries(saved.fds));
    this.#symbols = new Map(Object.entries(saved.symbols));
    this.#memories = new Map(Object.entries(saved.memories));
    this.#bars = saved.bars;
    this.#nextVaddr = saved.nextVaddr;
    this.#signals = new Set(saved.signals);
  }

  save(): SavedState {
    return {
      fds: Object.fromEntries(this.#fds),
      symbols: Object.fromEntries(this.#symbols),
      memories: Object.fromEntries(this.#memories),
      bars: this.#bars,
      nextVaddr: this.#nextVaddr,
      signals: [...this.#signals],
    };
  }

  change(change: Change): void {
    this.apply(change);
    this.#changes.push(change);
  }

  /** Applies a change that another actor has made. */
  apply(change: Change): void {
    if ('nextVaddr' in change) this.#nextVaddr = Math.max(this.#nextVaddr, change.nextVaddr);
    else if ('signal' in change) this.#signals.add(change.signal);
    else if ('bar' in change) this.#bars = [...this.#bars, change.bar];
    else if ('symbol' in change) {
      this.#symbols.set(change.symbol, change.vaddr);
      if (change.memory) this.#memories.set(change.symbol, change.memory);
    } else if (change.number === null) this.#fds.delete(change.fd);
    else this.#fds.set(change.fd, change.number);
  }

  takeChanges(): readonly Change[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  /** Number of the fd that a step names: by name, or as a plain number. */
  fd(word: string): number {
    return /^-?\d/.test(word) ? Number(word) : (this.#fds.get(word) ?? NO_FD);
  }

  fds(): Iterable<readonly [string, number]> {
    return this.#fds;
  }

  symbol(name: string): number | undefined {
    return this.#symbols.get(name);
  }

  memory(name: string): Memory | undefined {
    return this.#memories.get(name);
  }

  get nextVaddr(): number {
    return this.#nextVaddr;
  }

  /** The BAR mapping that lay last at a vaddr. */
  barAt(vaddr: number): BarWindow | undefined {
    return this.#bars.findLast((bar) => vaddr >= bar.vaddr && vaddr < bar.vaddr + bar.size);
  }

  get signals(): ReadonlySet<number> {
    return this.#signals;
  }

  /**
   * Forgets what an execve removes: all addresses and signal handlers. The objects keep their
   * names.
   */
  forgetImage(): void {
    this.#signals.clear();
    this.#symbols.clear();
    this.#bars = [];
  }
}
