/**
 * query-qmp-schema: commands and events as a list of SchemaInfo (QEMU qapi/introspect.json). As in
 * QEMU, types other than the built-in ones have no names, only numbers, which may differ in the
 * next version.
 */
import {
  any,
  arrayOf,
  type Member,
  type ObjectInfo,
  type ObjectType,
  object,
  type Qapi,
  type QapiType,
  str,
  union,
} from './qapi.ts';

const MEMBER = object({ name: str, type: str }, { default: any });
const VARIANT = object({ case: str, type: str });
const META_TYPES = {
  builtin: object({ 'json-type': str }),
  /** `values` is the form of `members` that older clients know. */
  enum: object({ members: arrayOf(object({ name: str })), values: arrayOf(str) }),
  array: object({ 'element-type': str }),
  object: object({ members: arrayOf(MEMBER) }, { tag: str, variants: arrayOf(VARIANT) }),
  command: object({ 'arg-type': str, 'ret-type': str }),
  event: object({ 'arg-type': str }),
};

export const SCHEMA_INFO = union('meta-type', META_TYPES, { name: str });

export type SchemaInfo = Qapi<typeof SCHEMA_INFO>;

export interface Signature {
  readonly args: ObjectType<unknown>;
  readonly returns: QapiType<unknown>;
}

/** The schema of these commands and events. */
export function schemaOf(
  commands: ReadonlyMap<string, Signature>,
  events: Readonly<Record<string, ObjectType<unknown>>>,
): SchemaInfo[] {
  const types = new MaskedTypes();
  const entities = [
    ...[...commands].map(([name, { args, returns }]): SchemaInfo => {
      return { name, 'meta-type': 'command', 'arg-type': types.nameOf(args), 'ret-type': types.nameOf(returns) };
    }),
    ...Object.entries(events).map(([name, data]): SchemaInfo => {
      return { name, 'meta-type': 'event', 'arg-type': types.nameOf(data) };
    }),
  ];
  return [...entities, ...types.describe()];
}

/** The types that are used, by the names that they get here. */
class MaskedTypes {
  readonly #numbers = new Map<QapiType<unknown>, string>();
  readonly #used = new Map<string, QapiType<unknown>>();

  nameOf(type: QapiType<unknown>): string {
    const name = this.#mask(type);
    if (!this.#used.has(name)) this.#used.set(name, type);
    return name;
  }

  #mask(type: QapiType<unknown>): string {
    const { info } = type;
    if (info.meta === 'builtin') return info.name;
    if (info.meta === 'array') return `[${this.nameOf(info.element)}]`;
    const number = this.#numbers.get(type) ?? String(this.#numbers.size);
    this.#numbers.set(type, number);
    return number;
  }

  /** All of them. A type that only another type names is met on the way. */
  describe(): SchemaInfo[] {
    const described: SchemaInfo[] = [];
    for (const [name, type] of this.#used) described.push(this.#describe(name, type));
    return described;
  }

  #describe(name: string, { info }: QapiType<unknown>): SchemaInfo {
    switch (info.meta) {
      case 'builtin':
        return { name, 'meta-type': 'builtin', 'json-type': info.json };
      case 'enum':
        return {
          name,
          'meta-type': 'enum',
          members: info.values.map((value) => ({ name: value })),
          values: info.values,
        };
      case 'array':
        return { name, 'meta-type': 'array', 'element-type': this.nameOf(info.element) };
      case 'object':
        return {
          name,
          'meta-type': 'object',
          members: info.members.map((member) => this.#member(member)),
          ...this.#variants(info),
        };
    }
  }

  #member({ name, type, optional }: Member): Qapi<typeof MEMBER> {
    return { name, type: this.nameOf(type), ...(optional ? { default: null } : {}) };
  }

  #variants({ tag, variants }: ObjectInfo): { tag: string; variants: Qapi<typeof VARIANT>[] } | undefined {
    if (tag === undefined || !variants) return undefined;
    return {
      tag,
      variants: Object.entries(variants).map(([value, type]) => ({ case: value, type: this.nameOf(type) })),
    };
  }
}
