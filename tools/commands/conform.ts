/** `livevmm conform`: recorded answers of real kernels against this one. */
import { readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

import { PROFILE_NAMES, type ProfileName } from '../../iommu/kernel/core/profile.ts';
import { type Command, CommandError, oneOf, parseWords, UsageError, wholeNumber } from '../cli/command.ts';
import { onEndingSignal } from '../cli/signals.ts';
import { StatusLine } from '../cli/status-line.ts';
import type { NativeWay } from '../conform/native/build.ts';
import { formatRun, passed, type Run, runDocument } from '../conform/report.ts';
import { type RunOptions, runVectors } from '../conform/runner.ts';
import { readVectorFile, VectorError, type VectorFile } from '../conform/vector-file.ts';
import { hasCompiler } from '../launch/compiler.ts';
import { thisArchitecture } from '../with/filter/call-numbers.ts';

const HELP = `Usage: livevmm conform [--profile VERSION] [--jobs N] [--filter GLOB] [--through-syscalls [--static]
       [--map-registers]] [--json] FILE.vec[.gz]|DIR...

Plays what was recorded on real kernels against this one: a host with the recorded machine, a fresh client process for each case,
and every answer compared. Prints cases and steps that passed by group, and the first difference of each case that has one.

  FILE.vec[.gz], DIR   recordings; a folder stands for all in it
  --profile VERSION    which kernel's VFIO to answer as: ${PROFILE_NAMES.join(', ')} (default: that of each recording)
  --jobs N             hosts at a time (default: one for each CPU)
  --filter GLOB        only cases whose GROUP/NAME matches; * and ? as in a shell
  --through-syscalls   a native client makes real system calls, as any program under livevmm with; it is built by cc
  --static             that client is linked statically
  --map-registers      its supervisor lets it map BARs of registers (x86-64); without it, cases that do are skipped
  --json               print one JSON document

Exit status: 0 no difference but those that docs/vfio.md explains, 1 otherwise, 2 for a file that is no recording.
`;

const MAX_JOBS = 64;

/** All recordings under `path`, in the order of their names. */
function vectorPaths(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new UsageError(`${path}: no such file or folder`);
  if (!stat.isDirectory()) return [path];
  const names = readdirSync(path, { recursive: true }) as string[];
  const found = names.filter((name) => /\.vec(\.gz)?$/.test(name)).sort();
  if (found.length === 0) throw new UsageError(`${path}: no recordings (*.vec, *.vec.gz) in it`);
  return found.map((name) => join(path, name));
}

function readVectors(paths: readonly string[]): VectorFile[] {
  try {
    return paths.flatMap(vectorPaths).map(readVectorFile);
  } catch (error) {
    if (error instanceof VectorError) throw new UsageError(error.message);
    throw error;
  }
}

/**
 * The profile for a recording. One of `livevmm with` names it. Otherwise its folder decides when
 * the module was rebuilt, else its kernel.
 */
export function recordedProfile({ path, uname }: Pick<VectorFile, 'path' | 'uname'>): ProfileName {
  const recordedHere = PROFILE_NAMES.find((name) => name === uname);
  if (recordedHere) return recordedHere;
  const rebuilt = /(?:^|\/)6\.1-blocking(-mmtest)?\/[^/]*$/.exec(path);
  if (rebuilt) return rebuilt[1] === undefined ? '6.2' : '5.12';
  const [major = 0, minor = 0] = uname.split('.').map((part) => Number.parseInt(part, 10));
  if (major === 5 && minor >= 12) return '5.12';
  if (major === 6 && minor >= 3) return '6.12';
  if (major === 7) return '7.2';
  throw new UsageError(`${path}: no profile stands for kernel '${uname.split(' ', 1)[0]}'; choose one with --profile`);
}

/** Whether a name matches a shell pattern of `*` and `?`. */
function matcher(glob: string): (name: string) => boolean {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const pattern = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
  return (name) => pattern.test(name);
}

export const conform: Command = {
  help: HELP,
  async run(words) {
    const { options, positionals } = parseWords(words, {
      profile: { type: 'string' },
      jobs: { type: 'string', default: String(Math.min(availableParallelism(), MAX_JOBS)) },
      filter: { type: 'string', default: '*' },
      'through-syscalls': { type: 'boolean', default: false },
      static: { type: 'boolean', default: false },
      'map-registers': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    });
    if (positionals.length === 0) throw new UsageError('conform: name a recording (FILE.vec[.gz]) or a folder of them');
    const jobs = wholeNumber('jobs', options.jobs, 1, MAX_JOBS);
    const chosen = options.profile === undefined ? undefined : oneOf('profile', options.profile, PROFILE_NAMES);
    const alone = (['static', 'map-registers'] as const).find((name) => options[name]);
    if (!options['through-syscalls'] && alone) throw new UsageError(`--${alone} is for --through-syscalls`);
    const files = readVectors(positionals);
    const profiles = new Map(files.map((file) => [file, chosen ?? recordedProfile(file)]));
    const throughSyscalls = options['through-syscalls'] ? nativeWay(options) : null;
    const profileOf = (file: VectorFile): ProfileName => profiles.get(file)!;
    const run = await play({ files, profileOf, jobs, wanted: matcher(options.filter), throughSyscalls });
    process.stdout.write(options.json ? `${JSON.stringify(runDocument(run), undefined, 2)}\n` : formatRun(run));
    return passed(run) ? 0 : 1;
  },
};

/** CommandError where a native client cannot be built or run so. */
function nativeWay(options: { readonly static: boolean; readonly 'map-registers': boolean }): NativeWay {
  const mapRegisters = options['map-registers'];
  if (!thisArchitecture) throw new CommandError(`there is no supervisor for ${process.arch}`);
  if (!hasCompiler()) throw new CommandError('--through-syscalls needs a C compiler (cc), and there is none');
  if (mapRegisters && process.arch !== 'x64') {
    throw new CommandError(`--map-registers is for x86-64, and this is ${process.arch}`);
  }
  return { linkage: options.static ? 'static' : 'dynamic', mapRegisters };
}

async function play(options: Omit<RunOptions, 'onOutcome' | 'signal'>): Promise<Run> {
  const { files, profileOf, wanted } = options;
  const startNs = process.hrtime.bigint();
  const status = new StatusLine();
  const asked = new AbortController();
  const stopListening = onEndingSignal((signal) => asked.abort(new CommandError(`stopped by ${signal}`)));
  const total = files.reduce((n, { group, cases }) => n + cases.filter((c) => wanted(`${group}/${c.name}`)).length, 0);
  if (total === 0) throw new UsageError('--filter: no case matches');
  let done = 0;
  try {
    const onOutcome = ({ file, case: { name } }: { file: VectorFile; case: { name: string } }): void => {
      done++;
      status.show(`${done} of ${total} cases  ${file.group}/${name}`);
    };
    const outcomes = await runVectors({ ...options, onOutcome, signal: asked.signal });
    return { outcomes, profileOf, seconds: Number(process.hrtime.bigint() - startNs) / 1e9 };
  } finally {
    status.clear();
    stopListening();
  }
}
