/**
 * A command of the program, and the parser of its words. The parser is node:util parseArgs, and its
 * errors become one line for the user.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

import type { EarlyThreads } from '../../devices/board/early-threads.ts';

/** The user asked for something that makes no sense. Shown as one line on stderr. */
export class UsageError extends Error {
  readonly exitStatus = 2;
}

/**
 * Something went wrong while the program did what was asked. Shown as one line on stderr.
 */
export class CommandError extends Error {
  readonly exitStatus = 1;
}

export interface Command {
  /** The whole text of `livevmm <command> --help`. */
  readonly help: string;
  /**
   * Runs the command. Resolves to the exit status. `early`: threads of a board that were
   * started before the command was loaded.
   */
  run(words: readonly string[], early?: EarlyThreads): Promise<number>;
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
 * The first sentence of parseArgs' message, which names the mistake. The rest explains how to pass
 * a value that looks like an option.
 */
function firstSentence(message: string): string {
  return message.split(/\.\s|\n/, 1)[0]!.replace(/\.$/, '');
}

/** One of `choices` given as `--name text`. */
export function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((one) => one === text);
  if (choice === undefined) throw new UsageError(`--${name}: one of ${choices.join(', ')}, not '${text}'`);
  return choice;
}

/** A whole number in [min, max] given as `--name text`. */
export function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new UsageError(`--${name} is a whole number from ${min} to ${max}, not '${text}'`);
  return value;
}
