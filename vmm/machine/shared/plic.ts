/**
 * The platform-level interrupt controller of the `virt` machine (docs/machine.md, "PLIC"; RISC-V
 * Platform-Level Interrupt Controller Specification 1.0.0): wired interrupts of all devices, one
 * context for M mode and one for S mode of each hart.
 *
 * Each source has a level-triggered gateway (PLIC 1.0): a level that is up becomes one request.
 * The next one is possible when this one has been completed; the level is looked at again then.
 * Only the thread that owns the shared devices touches the PLIC.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { integer, list } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';

/** Sources 1 to 95, as in QEMU. Source 0 does not exist. */
export const PLIC_SOURCES = 96;
const WORDS = PLIC_SOURCES / 32;
const MAX_PRIORITY = 7;

// PLIC 1.0, the memory map
const PENDING = 0x1000;
const ENABLE = 0x2000;
const ENABLE_STRIDE = 0x80;
const CONTEXT = 0x20_0000;
const CONTEXT_STRIDE = 0x1000;
const THRESHOLD = 0;
const CLAIM = 4;

/** Words are bit sets of 32 sources each, source 32w + i in bit i of word w. */
export const PLIC_SECTION = defineSection('plic', 1, {
  priority: list(integer, PLIC_SOURCES),
  /** Requests that no context has claimed. */
  pending: list(integer, WORDS),
  /** Requests that were claimed and not completed. */
  claimed: list(integer, WORDS),
  /** Levels of the wires. */
  level: list(integer, WORDS),
  contexts: list(list(integer, WORDS + 1)),
});

export type PlicState = StateOf<typeof PLIC_SECTION>;

interface Context {
  readonly enable: Uint32Array;
  threshold: number;
}

export interface PlicOptions {
  /** Context 2h is hart h in M mode, 2h + 1 in S mode. */
  readonly harts: number;
  /** Drives the external interrupt line of a context. */
  drive(context: number, up: boolean): void;
  /** Hears of a completed request before the source's level is looked at again. */
  completed?(source: number): void;
}

export class Plic implements MmioDevice {
  readonly maxAccess = 4;
  readonly #priority = new Uint8Array(PLIC_SOURCES);
  readonly #pending = new Uint32Array(WORDS);
  readonly #claimed = new Uint32Array(WORDS);
  readonly #level = new Uint32Array(WORDS);
  readonly #contexts: readonly Context[];
  readonly #options: PlicOptions;

  constructor(options: PlicOptions) {
    this.#options = options;
    this.#contexts = Array.from({ length: 2 * options.harts }, () => ({
      enable: new Uint32Array(WORDS),
      threshold: 0,
    }));
  }

  /** The wire of a source, 1 to 95, has this level now. */
  setLevel(source: number, up: boolean): void {
    put(this.#level, source, up);
    if (this.#request(source)) this.#drive();
  }

  load(offset: number, size: AccessSize): bigint | undefined {
    return size === 4 ? BigInt(this.#read(offset)) : undefined;
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (size !== 4) return false;
    this.#write(offset, Number(value));
    return true;
  }

  /** As after power-on. The wires keep their levels. */
  reset(): void {
    this.#priority.fill(0);
    this.#pending.fill(0);
    this.#claimed.fill(0);
    for (const context of this.#contexts) {
      context.enable.fill(0);
      context.threshold = 0;
    }
    for (let source = 1; source < PLIC_SOURCES; source++) this.#request(source);
    this.#drive();
  }

  save(): PlicState {
    return PLIC_SECTION.of({
      priority: [...this.#priority],
      pending: [...this.#pending],
      claimed: [...this.#claimed],
      level: [...this.#level],
      contexts: this.#contexts.map(({ enable, threshold }) => [...enable, threshold]),
    });
  }

  restore(state: PlicState): void {
    this.#priority.set(state.priority);
    this.#pending.set(state.pending);
    this.#claimed.set(state.claimed);
    this.#level.set(state.level);
    for (const [i, context] of this.#contexts.entries()) {
      const saved = state.contexts[i] ?? [];
      context.enable.set(saved.slice(0, WORDS));
      context.threshold = saved[WORDS] ?? 0;
    }
    this.#drive();
  }

  #read(offset: number): number {
    if (offset < PENDING) return this.#priority[offset / 4] ?? 0;
    if (offset < ENABLE) return this.#pending[(offset - PENDING) / 4] ?? 0;
    if (offset < CONTEXT) {
      const at = offset - ENABLE;
      return this.#contexts[Math.floor(at / ENABLE_STRIDE)]?.enable[(at % ENABLE_STRIDE) / 4] ?? 0;
    }
    const context = this.#contexts[Math.floor((offset - CONTEXT) / CONTEXT_STRIDE)];
    if (!context) return 0;
    const register = (offset - CONTEXT) % CONTEXT_STRIDE;
    if (register === THRESHOLD) return context.threshold;
    return register === CLAIM ? this.#claim(context) : 0;
  }

  #write(offset: number, value: number): void {
    if (offset < PENDING) {
      const source = offset / 4;
      if (source > 0 && source < PLIC_SOURCES) this.#priority[source] = value & MAX_PRIORITY;
    } else if (offset < ENABLE) {
      return; // read only
    } else if (offset < CONTEXT) {
      const at = offset - ENABLE;
      const word = (at % ENABLE_STRIDE) / 4;
      const context = this.#contexts[Math.floor(at / ENABLE_STRIDE)];
      // source 0 does not exist
      if (context && word < WORDS) context.enable[word] = word === 0 ? value & ~1 : value;
    } else {
      const context = this.#contexts[Math.floor((offset - CONTEXT) / CONTEXT_STRIDE)];
      const register = (offset - CONTEXT) % CONTEXT_STRIDE;
      if (context && register === THRESHOLD) context.threshold = value & MAX_PRIORITY;
      else if (context && register === CLAIM) this.#complete(context, value);
    }
    this.#drive();
  }

  /** Level high, nothing requested and nothing in service: the gateway makes a request. */
  #request(source: number): boolean {
    if (!has(this.#level, source) || has(this.#pending, source) || has(this.#claimed, source)) return false;
    put(this.#pending, source, true);
    return true;
  }

  /** Reading CLAIM; 0 if there is nothing. As in QEMU the threshold counts here, too. */
  #claim(context: Context): number {
    const source = this.#best(context, context.threshold);
    if (source !== 0) {
      put(this.#pending, source, false);
      put(this.#claimed, source, true);
      this.#drive();
    }
    return source;
  }

  /** Writing CLAIM. An id that is not enabled for the context is ignored (PLIC 1.0). */
  #complete(context: Context, source: number): void {
    if (source < 1 || source >= PLIC_SOURCES || !has(context.enable, source) || !has(this.#claimed, source)) return;
    put(this.#claimed, source, false);
    this.#options.completed?.(source);
    this.#request(source);
  }

  /** The pending and enabled source of highest priority above `above`, the lowest of them; or 0. */
  #best({ enable }: Context, above: number): number {
    let best = 0;
    let highest = above;
    for (let word = 0; word < WORDS; word++) {
      for (let ready = this.#pending[word]! & enable[word]!; ready !== 0; ready &= ready - 1) {
        const source = 32 * word + 31 - Math.clz32(ready & -ready);
        if (this.#priority[source]! > highest) {
          best = source;
          highest = this.#priority[source]!;
        }
      }
    }
    return best;
  }

  #drive(): void {
    for (const [i, context] of this.#contexts.entries()) {
      this.#options.drive(i, this.#best(context, context.threshold) !== 0);
    }
  }
}

const has = (words: Uint32Array, source: number): boolean => ((words[source >>> 5]! >>> (source & 31)) & 1) !== 0;

function put(words: Uint32Array, source: number, on: boolean): void {
  const bit = 1 << (source & 31);
  words[source >>> 5] = on ? words[source >>> 5]! | bit : words[source >>> 5]! & ~bit;
}
