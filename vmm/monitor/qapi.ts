/**
 * Types of the monitor's language, as QEMU's QAPI has them. A type is declared once: the same
 * declaration checks what a client sends, in QEMU's words, describes itself to query-qmp-schema
 * (schema.ts), and is the TypeScript type of what a command gets and returns.
 */
import { type ClientJson, type ClientObject, JsonNumber } from './json.ts';
import type { Json } from './qmp.ts';
import { QmpError } from './qmp-error.ts';

/** Where a value lies in the arguments of a command. */
export interface Place {
  /** `channels[0].addr`; '' for the arguments as a whole. */
  readonly path: string;
  /** The value's own name; null for an item of a list, which has none. */
  readonly name: string | null;
}

export interface Member {
  readonly name: string;
  readonly type: QapiType<unknown>;
  readonly optional: boolean;
}

/** What a type is, for query-qmp-schema. */
export type TypeInfo =
  | { readonly meta: 'builtin'; readonly name: string; readonly json: string }
  | { readonly meta: 'enum'; readonly values: readonly string[] }
  | { readonly meta: 'array'; readonly element: QapiType<unknown> }
  | ObjectInfo;

export interface ObjectInfo {
  readonly meta: 'object';
  readonly members: readonly Member[];
  /**
   * Of a union: the name of the member that tells the variants apart, and the variants by its
   * value.
   */
  readonly tag?: string;
  readonly variants?: Readonly<Record<string, ObjectType<unknown>>>;
}

export interface QapiType<out T> {
  readonly info: TypeInfo;
  /** Checks a client's value. QmpError in QEMU's words. */
  read(value: ClientJson, at: Place): T;
}

export interface ObjectType<out T> extends QapiType<T> {
  readonly info: ObjectInfo;
  /** Checks those members that this type has, and adds their names to `known`. */
  readMembers(value: ClientObject, at: Place, known: Set<string>): T;
}

/** What a type stands for in TypeScript. */
export type Qapi<Q> = Q extends QapiType<infer T> ? T : never;

const mistyped = ({ path, name }: Place, expected: string): QmpError =>
  new QmpError(`Invalid parameter type for '${path === '' ? (name ?? 'null') : path}', expected: ${expected}`);

function builtin<T>(name: string, json: string, expected: string, read: (value: ClientJson) => T | undefined) {
  const type: QapiType<T> = {
    info: { meta: 'builtin', name, json },
    read(value, at) {
      const found = read(value);
      if (found === undefined) throw mistyped(at, expected);
      return found;
    },
  };
  return type;
}

export const str = builtin('str', 'string', 'string', (value) => (typeof value === 'string' ? value : undefined));
export const bool = builtin('bool', 'boolean', 'boolean', (value) => (typeof value === 'boolean' ? value : undefined));
/** DEVIATION: only integers that a double holds exactly; QEMU takes 64 bits. */
export const int = builtin('int', 'int', 'integer', (value) => {
  const n = value instanceof JsonNumber && /^-?\d+$/.test(value.text) ? Number(value.text) : undefined;
  return Number.isSafeInteger(n) ? n : undefined;
});
/** A number of bytes; QEMU names it `int` in its schema, too. */
export const size: QapiType<number> = {
  info: int.info,
  read(value, at) {
    const n = value instanceof JsonNumber && /^\d+$/.test(value.text) ? Number(value.text) : undefined;
    if (!Number.isSafeInteger(n)) throw new QmpError(`Parameter '${at.path}' expects uint64`);
    return n!;
  },
};
export const number = builtin('number', 'number', 'number', (value) =>
  value instanceof JsonNumber ? Number(value.text) : undefined,
);
/** Any JSON value. */
export const any: QapiType<Json> = {
  info: { meta: 'builtin', name: 'any', json: 'value' },
  read: (value) => plainJson(value),
};

function plainJson(value: ClientJson): Json {
  if (value instanceof JsonNumber) return Number(value.text);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [key, plainJson(each)]));
  return Array.isArray(value) ? value.map(plainJson) : (value as Json);
}

/** One of these words. The error names the value by its own name, as QEMU's does. */
export function enumOf<const W extends string>(...values: readonly W[]): QapiType<W> {
  return {
    info: { meta: 'enum', values },
    read(value, at) {
      const word = str.read(value, at);
      const found = values.find((one) => one === word);
      if (found === undefined) throw new QmpError(`Parameter '${at.name}' does not accept value '${word}'`);
      return found;
    },
  };
}

export function arrayOf<T>(element: QapiType<T>): QapiType<readonly T[]> {
  return {
    info: { meta: 'array', element },
    read(value, at) {
      if (!Array.isArray(value)) throw mistyped(at, 'array');
      return value.map((item: ClientJson, i) => element.read(item, { path: `${at.path}[${i}]`, name: null }));
    },
  };
}

type Fields = Readonly<Record<string, QapiType<unknown>>>;
type Required<F extends Fields> = { readonly [K in keyof F]: Qapi<F[K]> };
type Optional<F extends Fields> = { readonly [K in keyof F]?: Qapi<F[K]> };

/** These members and no others; `optional` ones may be absent. */
export function object<R extends Fields, O extends Fields = Record<never, never>>(
  required: R,
  optional?: O,
): ObjectType<Required<R> & Optional<O>> {
  const members = [
    ...Object.entries(required).map(([name, type]): Member => ({ name, type, optional: false })),
    ...Object.entries(optional ?? {}).map(([name, type]): Member => ({ name, type, optional: true })),
  ];
  return objectType({ meta: 'object', members }, (value, at, known) => {
    return readMembers(members, value, at, known) as Required<R> & Optional<O>;
  });
}

type Variants = Readonly<Record<string, ObjectType<unknown>>>;
type Union<Tag extends string, V extends Variants> = {
  [K in keyof V]: { readonly [T in Tag]: K } & Qapi<V[K]>;
}[keyof V];

/**
 * An object whose member `tag` says which of the variants' members it has beside. `base` are
 * members of every variant.
 */
export function union<const Tag extends string, V extends Variants, B extends Fields = Record<never, never>>(
  tag: Tag,
  variants: V,
  base?: B,
): ObjectType<Union<Tag, V> & Required<B>> {
  const { members } = object({ ...base, [tag]: enumOf(...Object.keys(variants)) }).info;
  return objectType({ meta: 'object', members, tag, variants }, (value, at, known) => {
    const common = readMembers(members, value, at, known) as Readonly<Record<Tag, string>>;
    const variant = variants[common[tag]]!.readMembers(value, at, known) as object;
    return { ...common, ...variant } as Union<Tag, V> & Required<B>;
  });
}

function objectType<T>(info: ObjectInfo, readMembers: ObjectType<T>['readMembers']): ObjectType<T> {
  return {
    info,
    readMembers,
    read(value, at) {
      if (!(value instanceof Map)) throw mistyped(at, 'object');
      const known = new Set<string>();
      const found = readMembers(value, at, known);
      for (const name of value.keys()) {
        if (!known.has(name)) throw new QmpError(`Parameter '${memberPath(at, name)}' is unexpected`);
      }
      return found;
    },
  };
}

/** In the order of the declaration: that decides which of several errors is told. */
function readMembers(
  members: readonly Member[],
  value: ClientObject,
  at: Place,
  known: Set<string>,
): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const { name, type, optional } of members) {
    known.add(name);
    const path = memberPath(at, name);
    const member = value.get(name);
    if (member !== undefined) found[name] = type.read(member, { path, name });
    else if (!optional) throw new QmpError(`Parameter '${path}' is missing`);
  }
  return found;
}

const memberPath = ({ path }: Place, name: string): string => (path === '' ? name : `${path}.${name}`);

/** No arguments, or nothing to return. */
export const NOTHING = object({});

/** Checks the arguments of a command. QmpError in QEMU's words. */
export const readArguments = <T>(type: ObjectType<T>, args: ClientObject): T =>
  type.read(args, { path: '', name: null });
