/**
 * A section is one owner's part of a saved state. The owner declares it beside its save and
 * restore.
 */
import { einval, SysError } from './errno.ts';
import { object, oneOf, type Shape, type Shaped } from './shape.ts';

/** Every section's body carries its version. */
export interface Versioned {
  readonly version: number;
}

export interface Section<S extends Versioned> {
  readonly name: string;
  /** The version that this build writes, and the only one that it reads. */
  readonly version: number;
  /** A body of this version. */
  of(fields: Omit<S, 'version'>): S;
  /**
   * The section of owner number `n`, where there are several alike. The first one has the plain
   * name, the next one is `NAME 1`.
   */
  numbered(n: number): Section<S>;
  /**
   * A body that another build may have written. EINVAL names the section and what is wrong in it.
   */
  decode(body: Versioned): S;
}

/**
 * `fields` are what the body holds beside its version; `optional` ones were not saved by some
 * earlier build.
 */
export function defineSection<
  V extends number,
  R extends Readonly<Record<string, Shape<unknown>>>,
  O extends Readonly<Record<string, Shape<unknown>>> = Record<never, never>,
>(name: string, version: V, fields: R, optional?: O): Section<SectionState<V, R, O>> {
  const shape = object({ version: oneOf(version), ...fields }, optional);
  return {
    name,
    version,
    of: (fields) => ({ version, ...fields }) as unknown as SectionState<V, R, O>,
    numbered: (n) => defineSection(n === 0 ? name : `${name} ${n}`, version, fields, optional),
    decode(body) {
      if (body.version !== version) {
        throw einval(`section ${name}: version ${body.version}, this build knows ${version}`);
      }
      try {
        return shape(body, name) as unknown as SectionState<V, R, O>;
      } catch (error) {
        throw error instanceof SysError ? einval(`section ${name}: ${error.message}`) : error;
      }
    },
  };
}

type SectionState<V extends number, R, O> = { readonly version: V } & {
  readonly [K in keyof R]: Shaped<R[K]>;
} & { readonly [K in keyof O]?: Shaped<O[K]> };

/** The body of a section. */
export type StateOf<S> = S extends Section<infer T> ? T : never;
