/**
 * What a command of the program is, and how its words are read: node:util parseArgs, with errors as
 * one line for the user.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The user asked for something that makes no sense: one line on stderr, exit status 2. */
export class UsageError extends Error {}

/**
 * Something the user should know went wrong while doing what was asked: one line on stderr, exit
 * status 1.
 */
export class CommandError extends Error {}

export interface Command {
  /** One line for `livevmm --help`. */
  readonly summary: string;
  /** The whole text of `livevmm <command> --help`. */
  readonly help: string;
  /** Does it; resolves to the exit status. */
  run(words: readonly string[]): Promise<number>;
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<O extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; options: O; strict: true; allowPositionals: false }>
>['values'];

/** Option values of `words`; UsageError for anything that is not an option of the command. */
export function parseOptions<const O extends Options>(words: readonly string[], options: O): Parsed<O> {
  return refusing(
    () => parseArgs({ args: [...words], options, strict: true, allowPositionals: false }).values as Parsed<O>,
  );
}

/** As parseOptions, for a command that takes other words as well. */
export function parseWords<const O extends Options>(
  words: readonly string[],
  options: O,
): { readonly options: Parsed<O>; readonly positionals: readonly string[] } {
  return refusing(() => {
    const { values, positionals } = parseArgs({ args: [...words], options, strict: true, allowPositionals: true });
    return { options: values as Parsed<O>, positionals };
  });
}

function refusing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    throw new UsageError(firstSentence(message));
  }
}

/**
 * parseArgs explains at length how to pass what looks like an option; the first sentence is the
 * mistake.
 */
function firstSentence(message: string): string {
  return message.split(/\.\s|\n/, 1)[0]!.replace(/\.$/, '');
}

/** A whole number in [min, max] given as `--name text`. */
export function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new UsageError(`--${name} is a whole number from ${min} to ${max}, not '${text}'`);
  return value;
}
