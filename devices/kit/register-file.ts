/**
 * The registers of one BAR at work. The file answers accesses as its map says (registers.ts) and
 * calls the device's hooks by register name. A register without a hook is a plain word that the
 * file keeps.
 */
import type { Halves } from '../../platform/mailbox.ts';
import { ONES, type Registers, word, ZERO } from './bar-access.ts';
import {
  type CommandRegister,
  type ComputedRegister,
  countOf,
  type HeldRegister,
  type Register,
  type RegisterMap,
  type RegisterTable,
  widthOf,
} from './registers.ts';

/** The names of the registers in `T` that are of one kind. */
type NamesOf<T extends RegisterTable, Kind> = { [N in keyof T]: T[N] extends Kind ? N : never }[keyof T];
type Value<R> = R extends { readonly width: 8 } ? bigint : number;

/**
 * The kept values, by name. A number is stored mod 2^32, a bigint (a register 8 bytes wide) mod
 * 2^64.
 */
export type RegisterValues<T extends RegisterTable> = { [N in NamesOf<T, HeldRegister>]: Value<T[N]> };

/** Called with the index of the register in its row. */
type ReadHook = (index: number) => number;
/** Called with the written value; stores it where it belongs. */
type WriteHook<R> = (value: Value<R>, index: number) => void;

type ReadHooks<T extends RegisterTable> = { readonly [N in NamesOf<T, ComputedRegister>]: ReadHook };
type NeedsWriteHook = CommandRegister | { readonly access: 'w1c' } | { readonly access: 'rw'; readonly computed: true };
type WriteHooks<T extends RegisterTable> = {
  readonly [N in NamesOf<T, NeedsWriteHook>]: WriteHook<T[N]>;
} & { readonly [N in NamesOf<T, { readonly access: 'rw' }>]?: WriteHook<T[N]> };

/** The work of the device at an access. A write hook replaces the plain store. */
export interface RegisterHooks<T extends RegisterTable> {
  /** Whether the registers that are declared with `locked` take no writes now. */
  readonly locked: [NamesOf<T, { readonly locked: string }>] extends [never] ? undefined : () => boolean;
  readonly read: ReadHooks<T>;
  readonly write: WriteHooks<T>;
}

/** A register as the file finds it by its offset; all of one shape. */
interface Slot {
  readonly width: number;
  /** Index of the register in its row. */
  readonly index: number;
  readonly readable: boolean;
  /** Whether a write without a hook is stored. */
  readonly stored: boolean;
  readonly locked: boolean;
  /** Index of the kept value in the words; 0 for a register that is not kept. */
  readonly word: number;
  readonly read: ReadHook | undefined;
  readonly write: ((value: never, index: number) => void) | undefined;
}

export class RegisterFile<T extends RegisterTable> implements Registers {
  readonly values: RegisterValues<T>;
  readonly #map: RegisterMap<T>;
  readonly #words: Uint32Array;
  /** The registers by offset; undefined where no register begins. */
  readonly #slots: (Slot | undefined)[] = [];
  readonly #locked: () => boolean;
  readonly #absent: Halves;

  constructor(map: RegisterMap<T>, hooks: RegisterHooks<T>) {
    const entries = Object.entries<Register>(map.registers);
    this.#map = map;
    this.#words = new Uint32Array(2 * entries.length);
    this.#locked = hooks.locked ?? (() => false);
    this.#absent = map.absent === 'ones' ? ONES : ZERO;
    for (const [i, [name, register]] of entries.entries()) this.#place(name, register, 2 * i, hooks);
    this.values = valuesOf(map, this.#words);
    this.reset();
  }

  #place(name: string, register: Register, word: number, hooks: RegisterHooks<T>): void {
    const width = widthOf(register);
    const slot = {
      width,
      readable: register.access !== 'wo',
      stored: register.access === 'rw',
      locked: 'locked' in register,
      word,
      read: (hooks.read as Readonly<Record<string, Slot['read']>>)[name],
      write: (hooks.write as Readonly<Record<string, Slot['write']>>)[name],
    };
    const end = register.at + width * countOf(register);
    while (this.#slots.length < end) this.#slots.push(undefined); // no holes: V8 is slower at those
    for (let index = 0; index < countOf(register); index++)
      this.#slots[register.at + index * width] = { ...slot, index };
  }

  /** Sets all kept values as at power-on. No hook is called. */
  reset(): void {
    for (const [i, register] of Object.values<Register>(this.#map.registers).entries()) {
      const reset = 'reset' in register ? register.reset : 0;
      this.#words[2 * i] = reset;
      this.#words[2 * i + 1] = reset / 2 ** 32;
    }
  }

  /** HOT: no allocation but that of the answer. */
  read(offset: number, size: number): Halves {
    const slot = this.#slots[offset];
    if (slot === undefined || !slot.readable || size > slot.width) return this.#absent;
    if (slot.read !== undefined) return word(slot.read(slot.index));
    const words = this.#words;
    return { lo: words[slot.word]!, hi: size === 8 ? words[slot.word + 1]! : 0 };
  }

  /** HOT: as read. */
  write(offset: number, size: number, lo: number, hi: number): void {
    const slot = this.#slots[offset];
    if (slot === undefined || size > slot.width || (slot.locked && this.#locked())) return;
    const high = size === 8 ? hi : 0;
    if (slot.write !== undefined) {
      const value = slot.width === 8 ? BigInt(lo) | (BigInt(high) << 32n) : lo;
      slot.write(value as never, slot.index);
    } else if (slot.stored) {
      this.#words[slot.word] = lo;
      this.#words[slot.word + 1] = high;
    }
  }
}

/**
 * An object with a property for each kept register. The properties read and write the words that
 * hold the values. They are accessors of a prototype, which V8 inlines.
 */
function valuesOf<T extends RegisterTable>(map: RegisterMap<T>, words: Uint32Array): RegisterValues<T> {
  // little endian, like every machine that this project runs on
  const wide = new BigUint64Array(words.buffer);
  const prototype = {};
  for (const [i, [name, register]] of Object.entries<Register>(map.registers).entries()) {
    if (!('reset' in register) || 'computed' in register) continue;
    Object.defineProperty(prototype, name, register.width === 8 ? wideAccessor(wide, i) : accessor(words, 2 * i));
  }
  return Object.create(prototype) as RegisterValues<T>;
}

// Two functions, so that each sees arrays of one kind only.
function accessor(words: Uint32Array, index: number): PropertyDescriptor {
  return {
    get: () => words[index],
    set(value: number) {
      words[index] = value;
    },
  };
}

function wideAccessor(words: BigUint64Array, index: number): PropertyDescriptor {
  return {
    get: () => words[index],
    set(value: bigint) {
      words[index] = value;
    },
  };
}
