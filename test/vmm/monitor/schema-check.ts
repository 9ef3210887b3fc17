/**
 * Says whether a JSON value has a type, by nothing but the answer to query-qmp-schema: what a
 * client could know.
 */
type Info = Readonly<Record<string, unknown>> & { readonly name: string };
interface Member {
  readonly name: string;
  readonly type: string;
}

export class SchemaCheck {
  readonly #infos: ReadonlyMap<string, Info>;

  constructor(schema: readonly object[]) {
    this.#infos = new Map((schema as Info[]).map((info) => [info.name, info]));
    if (this.#infos.size !== schema.length) throw new Error('a name is there twice');
  }

  get names(): readonly string[] {
    return [...this.#infos.keys()];
  }

  /** Names that a SchemaInfo refers to and that have none themselves. */
  get dangling(): readonly string[] {
    const named = [...this.#infos.values()].flatMap((info) => [
      ...['arg-type', 'ret-type', 'element-type'].flatMap((key) =>
        info[key] === undefined ? [] : [String(info[key])],
      ),
      ...((info['meta-type'] === 'object' ? info.members : []) as Member[]).map(({ type }) => type),
      ...((info.variants ?? []) as Member[]).map(({ type }) => type),
    ]);
    return named.filter((name) => !this.#infos.has(name));
  }

  /**
   * Whether `value` may be the arguments of a command, the data of an event, or the answer to a
   * command.
   */
  fits(name: string, part: 'arg-type' | 'ret-type', value: unknown): boolean {
    return this.#is(String(this.#infos.get(name)![part]), value);
  }

  #is(type: string, value: unknown): boolean {
    const info = this.#infos.get(type)!;
    switch (info['meta-type']) {
      case 'builtin':
        return isBuiltin(String(info['json-type']), value);
      case 'enum':
        return (info.members as Member[]).some(({ name }) => name === value);
      case 'array':
        return Array.isArray(value) && value.every((item) => this.#is(String(info['element-type']), item));
      default:
        return this.#isObject(info, value);
    }
  }

  #isObject(info: Info, value: unknown): boolean {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const given = value as Readonly<Record<string, unknown>>;
    const members = this.#membersFor(info, given);
    const names = members.map(({ name }) => name);
    return (
      Object.keys(given).every((name) => names.includes(name)) &&
      members.every((member) =>
        Object.hasOwn(given, member.name) ? this.#is(member.type, given[member.name]) : 'default' in member,
      )
    );
  }

  /**
   * With those of the variant that the tag chooses; a tag that chooses none is found wrong as a
   * member.
   */
  #membersFor(info: Info, given: Readonly<Record<string, unknown>>): readonly Member[] {
    const own = info.members as Member[];
    const variants = (info.variants ?? []) as { readonly case: string; readonly type: string }[];
    const chosen = variants.find((variant) => variant.case === given[String(info.tag)]);
    return chosen ? [...own, ...this.#membersFor(this.#infos.get(chosen.type)!, given)] : own;
  }
}

function isBuiltin(json: string, value: unknown): boolean {
  if (json === 'value') return true;
  if (json === 'int') return Number.isSafeInteger(value);
  return typeof value === json;
}
