/** `livevmm state`: a guest's state as people read it, and the difference of two. */
import { readFileSync, writeFileSync } from 'node:fs';

import { type Command, CommandError, parseWords, UsageError } from '../cli/command.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { findQmpSocket } from '../launch/sockets.ts';
import { describeDiff, diffJson, diffStates } from '../state/diff.ts';
import { describeState, type StateView, stateJson, viewState } from '../state/view.ts';

const HELP = `Usage: livevmm state FILE [--json]
       livevmm state [--qmp PATH] [--output FILE] [--json]
       livevmm state diff FILE FILE [--json]

Shows a guest's state as a VMM hands it to its next image, section by section. Without FILE a running VMM is asked for it: it
stops its guest for some milliseconds and saves it, without the two sections that exist only for an update ('update' and 'monitor').

  --qmp PATH      the VMM's monitor socket (default: that of the only VMM running)
  --output FILE   writes the running VMM's state to FILE instead of showing it
  --json          print one JSON document; 64-bit registers and bytes are strings of hexadecimal digits, 0x… and …

A file that is damaged is shown up to the damage, with exit status 1. 'diff' ends with 0 if the two states are the same, and with 1 if
not; the time of the execve is no part of a state.
`;

/** How long a busy VMM may take to stop its guest and to answer. */
const ANSWER_MS = 30_000;

function readState(path: string): StateView {
  return viewOf(path, readFileSync(path));
}

/** As readState; a damaged state is an error. */
function readSound(path: string): StateView {
  const state = readState(path);
  if (state.damage !== undefined) throw new CommandError(`${path}: ${state.damage}`);
  return state;
}

function viewOf(name: string, file: Uint8Array): StateView {
  try {
    return viewState(file);
  } catch (error) {
    throw new CommandError(`${name}: ${(error as Error).message}`);
  }
}

async function askState(path: string): Promise<Uint8Array> {
  const qmp = await QmpClient.connect(path);
  try {
    const { state } = (await qmp.execute('x-state', undefined, ANSWER_MS)) as { readonly state: string };
    return Buffer.from(state, 'base64');
  } finally {
    qmp.close();
  }
}

const print = (text: string, json: unknown, asJson: boolean | undefined): void =>
  void process.stdout.write(asJson ? `${JSON.stringify(json, undefined, 2)}\n` : text);

/** Shows a state. A damaged one is an error behind what could be shown. */
function show(name: string, state: StateView, json: boolean | undefined): number {
  print(describeState(state), stateJson(state), json);
  if (state.damage !== undefined) throw new CommandError(`${name}: ${state.damage}`);
  return 0;
}

function diff(paths: readonly string[], json: boolean | undefined): number {
  const [first, second] = paths;
  if (first === undefined || second === undefined || paths.length > 2) {
    throw new UsageError('state diff: give two files');
  }
  const changes = diffStates(readSound(first), readSound(second));
  print(describeDiff(changes), diffJson(changes), json);
  return changes.length === 0 ? 0 : 1;
}

export const state: Command = {
  help: HELP,
  async run(words) {
    const { options, positionals } = parseWords(words, {
      qmp: { type: 'string' },
      output: { type: 'string' },
      json: { type: 'boolean' },
    });
    const { qmp, output, json } = options;
    const [file, ...more] = positionals;
    if (file !== undefined && (qmp !== undefined || output !== undefined)) {
      throw new UsageError('state: --qmp and --output are for the state of a running VMM, not for a file');
    }
    if (file === 'diff') return diff(more, json);
    if (more.length > 0) throw new UsageError('state: give one file, or: diff FILE FILE');
    if (file !== undefined) return show(file, readState(file), json);
    const path = qmp ?? findQmpSocket();
    const bytes = await askState(path);
    if (output === undefined) return show(path, viewOf(path, bytes), json);
    writeFileSync(output, bytes);
    return 0;
  },
};
