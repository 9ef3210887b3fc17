/**
 * The commands of a monitor. A command is one declaration: the types of its arguments and of its
 * answer, and what it does.
 */
import type { ClientObject } from './json.ts';
import { arrayOf, NOTHING, type ObjectType, object, type QapiType, readArguments, str } from './qapi.ts';
import type { Command, Json } from './qmp.ts';
import { QmpError } from './qmp-error.ts';
import { SCHEMA_INFO, type Signature, schemaOf } from './schema.ts';

export interface CommandSpec extends Signature {
  /** Checks the arguments and runs the command. QmpError in QEMU's words. */
  execute(args: ClientObject): Promise<Json>;
}

interface Declaration<A, R> {
  readonly args: ObjectType<A>;
  readonly returns: QapiType<R>;
  run(args: NoInfer<A>): NoInfer<R> | Promise<NoInfer<R>>;
}

export function command<A, R>({ args, returns, run }: Declaration<A, R>): CommandSpec {
  return { args, returns, execute: async (given) => (await run(readArguments(args, given))) as Json };
}

/** A command without arguments that returns nothing. */
export function action(run: () => void | Promise<void>): CommandSpec {
  return command({
    args: NOTHING,
    returns: NOTHING,
    async run() {
      await run();
      return {};
    },
  });
}

/** The commands by name, with those that tell about commands. */
export class CommandSet {
  readonly #commands: ReadonlyMap<string, CommandSpec>;

  constructor(commands: Readonly<Record<string, CommandSpec>>, events: Readonly<Record<string, ObjectType<unknown>>>) {
    const introspection = {
      'query-commands': command({
        args: NOTHING,
        returns: arrayOf(object({ name: str })),
        run: () => [...this.#commands.keys()].map((name) => ({ name })),
      }),
      'query-qmp-schema': command({
        args: NOTHING,
        returns: arrayOf(SCHEMA_INFO),
        run: () => schemaOf(this.#commands, events),
      }),
    };
    this.#commands = new Map(Object.entries({ ...commands, ...introspection }));
  }

  /** QmpError in QEMU's words; errors of the command. */
  async execute({ execute, arguments: args }: Command): Promise<Json> {
    const found = this.#commands.get(execute);
    if (!found) throw new QmpError(`The command ${execute} has not been found`, 'CommandNotFound');
    return found.execute(args);
  }
}
