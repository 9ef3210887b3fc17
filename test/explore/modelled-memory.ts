/**
 * Shared memory as an actor sees it: Atomics and typed arrays whose accesses to the scenario's
 * buffers are steps. Plain accesses are steps too, each of an element or of a whole set() or
 * fill(): so data that is published too early is seen.
 */
import type { Baton } from './baton.ts';
import type { Memory } from './scenario.ts';

type TypedArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;
type Value = number | bigint;

/** The operations under one signature: their overloads differ only in number or bigint. */
interface Operations {
  readonly load: (array: TypedArray, index: number) => Value;
  readonly notify: (array: TypedArray, index: number, count?: number) => number;
  readonly compareExchange: (array: TypedArray, index: number, expected: Value, value: Value) => Value;
}
const real = Atomics as unknown as Operations;
type Modify = 'store' | 'add' | 'sub' | 'and' | 'or' | 'xor' | 'exchange';
const modify = Atomics as unknown as Record<Modify, (array: TypedArray, index: number, value: Value) => Value>;

export type WordNames = (buffer: string, word: number) => string | undefined;

/** An element or range of a scenario's buffer, in 32-bit words. */
interface Span {
  readonly buffer: number;
  readonly word: number;
  readonly count: number;
}

const WRITERS = new Set(['set', 'fill', 'copyWithin', 'sort', 'reverse']);
const VIEWS = new Set(['subarray']);

export class ModelledMemory {
  readonly #baton: Baton;
  readonly #names: readonly string[];
  readonly #numbers = new Map<ArrayBufferLike, number>();
  readonly #wordName: WordNames;
  #inEffect = false;
  /** The typed arrays behind the actors' ones. */
  readonly #targets = new WeakMap<object, TypedArray>();

  constructor(baton: Baton, memory: Memory, wordName: WordNames) {
    this.#baton = baton;
    this.#names = Object.keys(memory);
    this.#wordName = wordName;
    for (const [number, buffer] of Object.values(memory).entries()) this.#numbers.set(buffer, number);
  }

  /**
   * An effect outside the buffers, in one step: ordered with every other such effect. What `act`
   * does is no step of its own.
   */
  effect<T>(label: string, act: () => T): T {
    const world = this.#names.length;
    this.#baton.before(world, 0, 1, true);
    this.#inEffect = true;
    try {
      return act();
    } finally {
      this.#inEffect = false;
      if (this.#baton.logging()) this.#baton.log(label);
      this.#baton.after(world, 0, 1, true);
    }
  }

  /** The actor's Atomics. */
  atomics(): typeof Atomics {
    const modified = (op: Modify) => (array: TypedArray, index: number, value: Value) =>
      this.#modify(op, this.#target(array), index, value);
    const replacement = {
      load: (array: TypedArray, index: number) => this.#load(this.#target(array), index),
      store: modified('store'),
      add: modified('add'),
      sub: modified('sub'),
      and: modified('and'),
      or: modified('or'),
      xor: modified('xor'),
      exchange: modified('exchange'),
      compareExchange: (array: TypedArray, index: number, expected: Value, value: Value) =>
        this.#compareExchange(this.#target(array), index, expected, value),
      wait: (array: TypedArray, index: number, expected: Value, timeoutMs?: number) =>
        this.#wait(this.#target(array), index, expected, timeoutMs ?? Number.POSITIVE_INFINITY),
      notify: (array: TypedArray, index: number, count?: number) => this.#notify(this.#target(array), index, count),
      isLockFree: Atomics.isLockFree,
      waitAsync: () => {
        throw new Error('Atomics.waitAsync is not modelled');
      },
      pause: () => undefined,
    };
    return replacement as unknown as typeof Atomics;
  }

  /**
   * An actor's typed array constructor: on a scenario's buffer it gives a modelled array, else a
   * real one.
   */
  constructorOf<C extends Int32ArrayConstructor>(real: C): C {
    return new Proxy(real, {
      construct: (target, args) => this.#modelled(Reflect.construct(target, args) as TypedArray),
    });
  }

  #modelled(array: TypedArray): TypedArray {
    if (!this.#numbers.has(array.buffer)) return array;
    const model = new Proxy(array, {
      get: (target, key) => {
        if (typeof key === 'string' && isIndex(key)) return this.#read(target, Number(key));
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function' || key === 'constructor') return value;
        return (...args: unknown[]) => this.#call(target, String(key), value as (...args: unknown[]) => unknown, args);
      },
      set: (target, key, value: Value) => {
        if (typeof key === 'string' && isIndex(key)) this.#write(target, Number(key), value);
        else throw new TypeError(`a modelled array has no ${String(key)} to set`);
        return true;
      },
    });
    this.#targets.set(model, array);
    return model;
  }

  #target(array: TypedArray): TypedArray {
    return this.#targets.get(array) ?? array;
  }

  #span(array: TypedArray, index: number, length = 1): Span | undefined {
    const buffer = this.#inEffect ? undefined : this.#numbers.get(array.buffer);
    if (buffer === undefined) return undefined;
    const start = array.byteOffset + index * array.BYTES_PER_ELEMENT;
    const end = start + length * array.BYTES_PER_ELEMENT;
    return { buffer, word: start >> 2, count: length === 0 ? 0 : ((end + 3) >> 2) - (start >> 2) };
  }

  /** The scheduling point of an access. */
  #before({ buffer, word, count }: Span, mayWrite: boolean): void {
    this.#baton.before(buffer, word, count, mayWrite);
  }

  /** The access has been made. */
  #after({ buffer, word, count }: Span, wrote: boolean): void {
    this.#baton.after(buffer, word, count, wrote);
  }

  #read(array: TypedArray, index: number): Value | undefined {
    const span = index < array.length ? this.#span(array, index) : undefined;
    if (!span) return array[index];
    this.#before(span, false);
    const value = array[index]!;
    if (this.#baton.logging()) this.#baton.log(`read ${this.#word(array, index)} → ${value}`);
    this.#after(span, false);
    return value;
  }

  #write(array: TypedArray, index: number, value: Value): void {
    const span = index < array.length ? this.#span(array, index) : undefined;
    if (span) this.#before(span, true);
    (array as { [at: number]: Value })[index] = value;
    if (!span) return;
    if (this.#baton.logging()) this.#baton.log(`write ${this.#word(array, index)} ${value}`);
    this.#after(span, true);
  }

  /**
   * A method of a modelled array, in one step; arrays it takes from the scenario's buffers are read
   * in a step before.
   */
  #call(array: TypedArray, name: string, method: (...args: unknown[]) => unknown, args: unknown[]): unknown {
    if (VIEWS.has(name)) return this.#modelled(method.apply(array, args) as TypedArray);
    const given = args.map((arg) => this.#copied(arg));
    const write = WRITERS.has(name);
    const [start, length] = extent(array, name, given);
    const span = this.#span(array, start, length);
    if (!span) return method.apply(array, given);
    this.#before(span, write);
    const result = method.apply(array, given);
    if (this.#baton.logging()) this.#baton.log(`${name} ${this.#range(array, start, length)}`);
    this.#after(span, write);
    return result;
  }

  /** A modelled array as an argument of a real method: what it holds now. */
  #copied(arg: unknown): unknown {
    const target = typeof arg === 'object' && arg !== null ? this.#targets.get(arg) : undefined;
    if (!target) return arg;
    const span = this.#span(target, 0, target.length);
    if (!span) return target;
    this.#before(span, false);
    const copy = target.slice();
    if (this.#baton.logging()) this.#baton.log(`copy ${this.#range(target, 0, target.length)}`);
    this.#after(span, false);
    return copy;
  }

  #load(array: TypedArray, index: number): Value {
    const span = this.#span(array, index);
    if (!span) return real.load(array, index);
    if (span.count === 1) this.#baton.beforeLoad(span.buffer, span.word);
    else this.#before(span, false);
    const value = real.load(array, index);
    if (this.#baton.logging()) this.#baton.log(`load ${this.#word(array, index)} → ${value}`);
    this.#after(span, false);
    return value;
  }

  #modify(op: Modify, array: TypedArray, index: number, value: Value): Value {
    const span = this.#span(array, index);
    if (!span) return modify[op](array, index, value);
    this.#before(span, true);
    const result = modify[op](array, index, value);
    if (this.#baton.logging()) {
      this.#baton.log(`${op} ${this.#word(array, index)} ${value}${op === 'store' ? '' : ` (was ${result})`}`);
    }
    this.#after(span, true);
    return result;
  }

  #compareExchange(array: TypedArray, index: number, expected: Value, value: Value): Value {
    const span = this.#span(array, index);
    if (!span) return real.compareExchange(array, index, expected, value);
    this.#before(span, true);
    const result = real.compareExchange(array, index, expected, value);
    if (this.#baton.logging()) {
      const done = result === expected ? 'done' : `is ${result}`;
      this.#baton.log(`compareExchange ${this.#word(array, index)} ${expected} → ${value}: ${done}`);
    }
    this.#after(span, result === expected);
    return result;
  }

  #wait(array: TypedArray, index: number, expected: Value, timeoutMs: number): 'ok' | 'not-equal' | 'timed-out' {
    const span = this.#span(array, index);
    if (!span) throw new Error('Atomics.wait on a buffer that is not in the scenario');
    this.#before(span, false);
    const value = real.load(array, index);
    const blocks = value === expected && timeoutMs > 0;
    if (this.#baton.logging()) {
      this.#baton.log(`wait ${this.#word(array, index)} == ${expected}${blocks ? ' …' : `: is ${value}`}`);
    }
    this.#after(span, blocks); // as a write: the order of waits is that of wake-ups
    if (value !== expected) return 'not-equal';
    if (!blocks) return 'timed-out';
    const result = this.#baton.block(span.buffer, span.word, timeoutMs);
    if (this.#baton.logging()) this.#baton.log(`wait ${this.#word(array, index)}: ${result}`);
    return result;
  }

  #notify(array: TypedArray, index: number, count = Number.POSITIVE_INFINITY): number {
    const span = this.#span(array, index);
    if (!span) return real.notify(array, index, count);
    this.#before(span, true);
    const woken = this.#baton.wake(span.buffer, span.word, count);
    if (this.#baton.logging()) this.#baton.log(`notify ${this.#word(array, index)}: ${woken} woken`);
    this.#after(span, true);
    return woken;
  }

  #range(array: TypedArray, start: number, length: number): string {
    return `${this.#word(array, start)} +${length * array.BYTES_PER_ELEMENT}`;
  }

  #word(array: TypedArray, index: number): string {
    const span = this.#span(array, index);
    const buffer = this.#names[span?.buffer ?? -1] ?? '?';
    const word = span?.word ?? 0;
    return `${buffer}.${this.#wordName(buffer, word) ?? word}`;
  }
}

const isIndex = (key: string): boolean => {
  const first = key.charCodeAt(0);
  return first >= 48 && first <= 57;
};

/** Elements [start, start + length) that a method touches. */
function extent(array: TypedArray, name: string, args: readonly unknown[]): [number, number] {
  if (name === 'set') return [Number(args[1] ?? 0), (args[0] as ArrayLike<Value>).length];
  if (name !== 'fill' && name !== 'slice') return [0, array.length];
  const [from, to] = name === 'fill' ? args.slice(1) : args;
  const start = clamp(from as number | undefined, 0, array.length);
  return [start, Math.max(0, clamp(to as number | undefined, array.length, array.length) - start)];
}

const clamp = (value: number | undefined, fallback: number, length: number): number => {
  if (value === undefined) return fallback;
  return value < 0 ? Math.max(0, length + value) : Math.min(value, length);
};
