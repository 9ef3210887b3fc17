/**
 * Code that dies at its n-th store to shared memory, as a process that is killed there: what it has
 * stored is visible, and nothing else happens. The code is bundled and evaluated with Atomics and
 * typed arrays that count the stores to the memory given (as test/explore does). The code may call
 * `step` before stores that are made otherwise.
 */
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';

import type { SharedPart } from '../../../../platform/shared.ts';
import { LIBC } from '../../../explore/control.ts';

/** Thrown at the store that is not made, and at all that handlers would make after it. */
export class Death extends Error {}

export class Life {
  #left: number;
  #dead = false;

  /** Dies at the store after `stores` others. */
  constructor(stores: number) {
    this.#left = stores;
  }

  get ended(): boolean {
    return this.#dead;
  }

  /** Comes before each store. */
  step(): void {
    if (this.#dead || this.#left-- === 0) {
      this.#dead = true;
      throw new Death();
    }
  }
}

type Value = number | bigint;
type TypedArray = Uint8Array | Int32Array | BigInt64Array;
type AnyFunction = (...args: unknown[]) => unknown;

const ARRAYS = [Int8Array, Uint8Array, Uint16Array, Int32Array, Uint32Array] as unknown[];
const LONG_ARRAYS = [Float64Array, BigInt64Array, BigUint64Array] as unknown[];
const constructors = [...ARRAYS, ...LONG_ARRAYS] as readonly Int32ArrayConstructor[];
const NAMES = ['require', 'module', 'exports', 'step', 'Atomics', ...constructors.map(({ name }) => name)];
const WRITING = ['store', 'add', 'sub', 'and', 'or', 'xor', 'exchange', 'compareExchange'];

/** Exports of a bundle that was evaluated once, and lives many times. */
export class Mortal<T> {
  readonly exports: T;
  #life = new Life(0);
  #printed = '';

  /** `code` is a bundle (test/explore/bundle.ts). Stores to `parts` are its steps. */
  constructor(code: string, parts: readonly SharedPart[]) {
    const step = (): void => this.#life.step();
    const { atomics, arrays } = mortalGlobals(parts, step);
    const builtin = createRequire(import.meta.url);
    const withWrite = { ...fs, writeSync: (_fd: number, bytes: Uint8Array) => this.#write(bytes) };
    const require = (name: string): unknown => {
      if (name === 'node:fs') return withWrite;
      if (name === LIBC) return {}; // no call of it is made
      return builtin(name);
    };
    const module = { exports: {} as T };
    const run = compileFunction(code, NAMES) as AnyFunction;
    run(require, module, module.exports, step, atomics, ...arrays);
    this.exports = module.exports;
  }

  /** Runs `body` until it ends or dies; returns its result, undefined after a death. */
  live<R>(life: Life, body: (exports: T) => R): { readonly result: R | undefined; readonly printed: string } {
    this.#life = life;
    this.#printed = '';
    let result: R | undefined;
    try {
      result = body(this.exports);
    } catch (error) {
      if (!life.ended) throw error;
    }
    return { result: life.ended ? undefined : result, printed: this.#printed };
  }

  /** stdout: a step, too. */
  #write(bytes: Uint8Array): number {
    this.#life.step();
    this.#printed += Buffer.from(bytes).toString('latin1');
    return bytes.length;
  }
}

function mortalGlobals(parts: readonly SharedPart[], step: () => void): { atomics: unknown; arrays: unknown[] } {
  const targets = new WeakMap<object, TypedArray>();
  const mortal = (array: TypedArray): TypedArray => {
    const { buffer, byteOffset, byteLength } = array;
    const isIn = ({ buffer: whole, offset, size }: SharedPart): boolean =>
      whole === buffer && byteOffset < offset + size && byteOffset + byteLength > offset;
    if (!parts.some(isIn)) return array;
    const proxy = new Proxy(array, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== 'function' || key === 'constructor') return value;
        if (key === 'set') return (from: ArrayLike<Value>, at = 0) => setByHalves(step, target, from, at);
        return (...args: unknown[]) => (value as AnyFunction).apply(target, args);
      },
      set: (target, key, value: Value) => {
        step();
        return Reflect.set(target, key, value, target);
      },
    });
    targets.set(proxy, array);
    return proxy;
  };
  const arrays = constructors.map(
    (array) => new Proxy(array, { construct: (of, args) => mortal(Reflect.construct(of, args) as TypedArray) }),
  );
  const atomics = Object.fromEntries(
    Object.getOwnPropertyNames(Atomics).map((name) => {
      const operation = (Atomics as unknown as Record<string, AnyFunction>)[name]!;
      const mortalOperation = (array: TypedArray, ...args: unknown[]): unknown => {
        const target = targets.get(array);
        if (target && WRITING.includes(name)) step();
        return operation.call(Atomics, target ?? array, ...args);
      };
      return [name, mortalOperation];
    }),
  );
  return { atomics, arrays };
}

/** A copy of many bytes is not one store. */
function setByHalves(step: () => void, array: TypedArray, from: ArrayLike<Value>, at: number): void {
  const half = from.length >> 1;
  for (let i = 0; i < from.length; i++) {
    if (i === 0 || i === half) step();
    (array as { [index: number]: Value })[at + i] = from[i]!;
  }
}
