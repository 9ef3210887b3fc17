/**
 * Checks of foreign values: a value that another build or process has packed is used only after its
 * shape was checked. A shape returns the value, typed, or throws EINVAL with the place that is
 * wrong: `timer.mtime: no bigint`.
 */
import { einval } from './errno.ts';

export interface Shape<T> {
  /** Checks `value`. `at` says where the value lies, for the error. */
  (value: unknown, at: string): T;
  /** The shapes that it is made of; absent: none. */
  readonly parts?: readonly Shape<unknown>[];
}

/** What a shape accepts. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

const made = <T>(parts: readonly Shape<unknown>[], shape: Shape<T>): Shape<T> => Object.assign(shape, { parts });

/** Whether values of `shape` may have values of `part` in them. */
export const mayHold = (shape: Shape<unknown>, part: Shape<unknown>): boolean =>
  shape === part || (shape.parts?.some((each) => mayHold(each, part)) ?? false);

const primitive =
  <T>(what: string, is: (value: unknown) => value is T): Shape<T> =>
  (value, at) => {
    if (!is(value)) throw einval(`${at}: no ${what}`);
    return value;
  };

export const text = primitive('text', (value): value is string => typeof value === 'string');
export const flag = primitive('boolean', (value): value is boolean => typeof value === 'boolean');
export const number = primitive(
  'number',
  (value): value is number => typeof value === 'number' && !Number.isNaN(value),
);
/** A whole number that a double holds exactly. */
export const integer = primitive('integer', (value): value is number => Number.isSafeInteger(value));
export const bytes = primitive('bytes', (value): value is Uint8Array => value instanceof Uint8Array);

/** A bigint; MessagePack may have made a number of a small one. */
export const big: Shape<bigint> = (value, at) => {
  if (typeof value === 'bigint') return value;
  if (!Number.isSafeInteger(value)) throw einval(`${at}: no bigint`);
  return BigInt(value as number);
};

/** One of these words or numbers. */
export function oneOf<const T extends string | number>(...allowed: readonly T[]): Shape<T> {
  return (value, at) => {
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw einval(`${at}: none of ${allowed.join(', ')}`);
    return found;
  };
}

/** A list, of exactly `length` values where one is given. */
export function list<T>(item: Shape<T>, length?: number): Shape<readonly T[]> {
  return made([item], (value, at) => {
    if (!Array.isArray(value)) throw einval(`${at}: no list`);
    if (length !== undefined && value.length !== length) throw einval(`${at}: ${value.length} values, not ${length}`);
    return value.map((each, i) => item(each, `${at}[${i}]`));
  });
}

/** Any names, with values of one shape. */
export function record<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return made([item], (value, at) =>
    Object.fromEntries(Object.entries(asObject(value, at)).map(([key, each]) => [key, item(each, `${at}.${key}`)])),
  );
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return made([shape], (value, at) => (value === null ? null : shape(value, at)));
}

type Fields = Readonly<Record<string, Shape<unknown>>>;
type Required<F extends Fields> = { readonly [K in keyof F]: Shaped<F[K]> };
type Optional<F extends Fields> = { readonly [K in keyof F]?: Shaped<F[K]> };

/** These fields and no others; `optional` ones may be absent. */
export function object<R extends Fields, const O extends Fields = Record<never, never>>(
  required: R,
  optional?: O,
): Shape<Required<R> & Optional<O>> {
  const fields = new Map<string, Shape<unknown>>(Object.entries({ ...required, ...optional }));
  return made([...fields.values()], (value, at) => {
    const members = asObject(value, at);
    for (const key of Object.keys(members)) if (!fields.has(key)) throw einval(`${at}: ${key} is not known`);
    const checked: Record<string, unknown> = {};
    for (const [key, shape] of fields) {
      if (members[key] !== undefined) checked[key] = shape(members[key], `${at}.${key}`);
      else if (key in required) throw einval(`${at}: ${key} is missing`);
    }
    return checked as Required<R> & Optional<O>;
  });
}

function asObject(value: unknown, at: string): Readonly<Record<string, unknown>> {
  const isObject =
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
  if (!isObject) throw einval(`${at}: no object`);
  return value as Readonly<Record<string, unknown>>;
}
