/**
 * A section is one owner's part of a saved state. The owner declares it beside its save and
 * restore. When the body changes, the section gets the next version. The owner keeps the shape of
 * the earlier one and says how to read it and, where that is possible, how to write it.
 */
import { einval, SysError } from './errno.ts';
import { fd, visitingFds } from './fd-shape.ts';
import { mayHold, object, oneOf, type Shape, type Shaped } from './shape.ts';

/** Every section's body carries its version. */
export interface Versioned {
  readonly version: number;
}

type Fields = Readonly<Record<string, Shape<unknown>>>;
type NoFields = Record<never, never>;

/** The body without its version. */
type Content<S> = Omit<S, 'version'>;

export interface Conversion<S extends Versioned, Old, O extends Fields = NoFields> {
  /** Fields that some builds of the earlier version did not save. */
  readonly optional?: O;
  /** This version's content, from an earlier one that was checked. EINVAL: there is none. */
  readonly read: (old: Old) => Content<S>;
  /** The earlier version's content. EINVAL: it cannot say what `state` says. */
  readonly write?: (state: S) => Content<Old>;
}

export interface Section<S extends Versioned> {
  readonly name: string;
  /** The version that this build writes if nobody asks for an earlier one. */
  readonly version: number;
  /** Whether a body of this version may name fds (fd-shape.ts). */
  readonly namesFds: boolean;
  /** A body of this version. */
  of(fields: Content<S>): S;
  /**
   * The section of owner number `n`, where there are several alike. The first one has the plain
   * name, the next one is `NAME 1`.
   */
  numbered(n: number): Section<S>;
  /**
   * A body that another build may have written, in this or an earlier version; the result is of
   * this version. EINVAL names the section and what is wrong in it.
   */
  decode(body: Versioned): S;
  /** Whether `decode` takes a body of this version. */
  reads(version: number): boolean;
  /** Whether `encode` can write this version. */
  writes(version: number): boolean;
  /**
   * `state` in the form of another version. EINVAL: the section is not written so, or that version
   * cannot say what `state` says.
   */
  encode(state: S, version: number): Versioned;
}

export interface SectionDeclaration<S extends Versioned> extends Section<S> {
  /** The section, which also knows the shape of an earlier version and how to convert it. */
  earlier<V extends number, R extends Fields, O extends Fields = NoFields>(
    version: V,
    fields: R,
    conversion: Conversion<S, SectionState<V, R, O>, O>,
  ): SectionDeclaration<S>;
}

/**
 * `fields` are what the body holds beside its version; `optional` ones were not saved by some
 * earlier build.
 */
export function defineSection<V extends number, R extends Fields, O extends Fields = NoFields>(
  name: string,
  version: V,
  fields: R,
  optional?: O,
): SectionDeclaration<SectionState<V, R, O>> {
  return new Declared<SectionState<V, R, O>>({ name, version, shape: shapeOf(version, fields, optional), forms: [] });
}

/** An earlier version. Its shape proves both conversions. */
interface Form<S> {
  readonly version: number;
  readonly shape: Shape<unknown>;
  readonly read: (old: never) => Content<S>;
  readonly write?: ((state: S) => object) | undefined;
}

interface Declaration<S> {
  readonly name: string;
  readonly version: number;
  readonly shape: Shape<S>;
  /** The latest first. */
  readonly forms: readonly Form<S>[];
}

class Declared<S extends Versioned> implements SectionDeclaration<S> {
  readonly name: string;
  readonly version: number;
  readonly namesFds: boolean;
  readonly #is: Declaration<S>;

  constructor(declaration: Declaration<S>) {
    this.name = declaration.name;
    this.version = declaration.version;
    this.namesFds = mayHold(declaration.shape, fd);
    this.#is = declaration;
  }

  of(fields: Content<S>): S {
    return { version: this.version, ...fields } as unknown as S;
  }

  earlier<V extends number, R extends Fields, O extends Fields = NoFields>(
    version: V,
    fields: R,
    { optional, read, write }: Conversion<S, SectionState<V, R, O>, O>,
  ): SectionDeclaration<S> {
    const form: Form<S> = { version, shape: shapeOf(version, fields, optional), read, write };
    return new Declared({ ...this.#is, forms: [...this.#is.forms, form] });
  }

  numbered(n: number): Section<S> {
    return n === 0 ? this : new Declared({ ...this.#is, name: `${this.name} ${n}` });
  }

  decode(body: Versioned): S {
    const { shape } = this.#is;
    if (body.version === this.version) return this.#naming(() => shape(body, this.name));
    const form = this.#form(body.version);
    if (!form) {
      const known = [this.version, ...this.#is.forms.map(({ version }) => version)].join(' and ');
      throw einval(`section ${this.name}: version ${body.version}, this build knows ${known}`);
    }
    return this.#naming(() => {
      const old = asTheyAre(() => form.shape(body, this.name)); // the shape of this version sees its fds
      return shape({ version: this.version, ...form.read(old as never) }, this.name);
    });
  }

  reads(version: number): boolean {
    return version === this.version || this.#form(version) !== undefined;
  }

  writes(version: number): boolean {
    return version === this.version || this.#form(version)?.write !== undefined;
  }

  encode(state: S, version: number): Versioned {
    if (version === this.version) return state;
    const form = this.#form(version);
    const write = form?.write;
    if (!write) throw einval(`section ${this.name}: this build does not write version ${version}`);
    return this.#naming(() => asTheyAre(() => form.shape({ version, ...write(state) }, this.name) as Versioned));
  }

  #form(version: number): Form<S> | undefined {
    return this.#is.forms.find((form) => form.version === version);
  }

  /** Runs `work`, and puts the section's name before its error. */
  #naming<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw error instanceof SysError ? einval(`section ${this.name}: ${error.message}`) : error;
    }
  }
}

/** A check that leaves the fds as they are. */
const asTheyAre = <T>(check: () => T): T => visitingFds((fd) => fd, check);

function shapeOf<V extends number, R extends Fields, O extends Fields>(
  version: V,
  fields: R,
  optional: O | undefined,
): Shape<SectionState<V, R, O>> {
  return object({ version: oneOf(version), ...fields }, optional) as unknown as Shape<SectionState<V, R, O>>;
}

type SectionState<V extends number, R, O> = { readonly version: V } & {
  readonly [K in keyof R]: Shaped<R[K]>;
} & { readonly [K in keyof O]?: Shaped<O[K]> };

/** The body of a section. */
export type StateOf<S> = S extends Section<infer T> ? T : never;
