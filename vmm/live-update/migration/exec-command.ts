/**
 * cpr-exec-command: the command line that QEMU executes in its own place. Here it says which build
 * and which node are next. The machine cannot change, so the options of the VMM must be those that
 * it has.
 */
import { accessSync, constants } from 'node:fs';
import { basename, delimiter, dirname, join, resolve } from 'node:path';

import { einval, enoent, SysError } from '../../../platform/errno.ts';
import { parseOptions } from '../../vm/options.ts';
import type { VmOptions } from '../../vm/vm-state.ts';
import { nodeOptions } from '../node-options.ts';
import type { UpdateTarget } from '../update.ts';
import { type Address, formatAddress, parseUri } from './channels.ts';
import { takeIncoming } from './incoming.ts';
import { checkSameMachine } from './same-machine.ts';

/** The VMM that a command is for. */
export interface Running {
  /** Path of its program. */
  readonly entry: string;
  readonly options: VmOptions;
  /** Where `migrate` goes. */
  readonly main: Address;
}

/**
 * What the command would start. EINVAL: no livevmm, other options for node than this one has,
 * another machine. ENOENT: its program is not in PATH.
 */
export function execTarget(command: readonly string[], running: Running): UpdateTarget {
  try {
    const { node, entry, words } = split(command, running.entry);
    checkMachine(words, running);
    return { node, to: dirname(resolve(entry)) };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError(error.code, `cpr-exec-command: ${error.message}`);
  }
}

interface Parts {
  readonly node: string;
  readonly entry: string;
  /** The words for the VMM. */
  readonly words: readonly string[];
}

/** Cuts `NODE [OPTION…] PROGRAM WORD…`, or `PROGRAM WORD…`: a built program is executable. */
function split(command: readonly string[], self: string): Parts {
  const isProgram = (word: string | undefined): word is string =>
    word !== undefined && basename(word) === basename(self);
  const [first = '', ...rest] = command;
  if (isProgram(first)) return { node: inPath('node'), entry: first, words: rest };
  const options = rest.slice(
    0,
    rest.findIndex((word) => !word.startsWith('-')),
  );
  const [entry, ...words] = rest.slice(options.length);
  if (!isProgram(entry)) throw einval(`no livevmm: give a node, then the ${basename(self)} of a built version`);
  if (options.length > 0 && options.join(' ') !== nodeOptions().join(' ')) {
    throw einval(`options for node (${options.join(' ')}) must be those of this VMM's node`);
  }
  return { node: inPath(first), entry, words };
}

/** The file that execvp(3) would take. ENOENT: there is none. */
function inPath(program: string): string {
  if (program.includes('/')) return resolve(program);
  const folders = (process.env.PATH ?? '').split(delimiter);
  const found = folders.map((folder) => join(folder, program)).find(isExecutable);
  if (found === undefined) throw enoent(`${program}: not in PATH`);
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Without words the machine is as it is. */
function checkMachine(words: readonly string[], { options, main }: Running): void {
  const { incoming: all, others } = takeIncoming(words);
  const [incoming] = all;
  if (incoming === 'defer') throw einval('-incoming defer: the new image takes the guest at once; name the URI');
  if (incoming !== undefined && formatAddress(parseUri(incoming)) !== formatAddress(main)) {
    throw einval(`-incoming ${incoming}, but the migration goes to ${formatAddress(main)}`);
  }
  if (others.length === 0) return;
  checkSameMachine(parseOptions(others), options);
}
