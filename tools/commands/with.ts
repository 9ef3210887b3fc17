/** `livevmm with`: any program that uses VFIO, on the emulated kernel. */
import { mkdirSync, openSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, join } from 'node:path';

import { startHost } from '../../devices/board/host.ts';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../iommu/kernel/core/profile.ts';
import { getRlimit, RLIMIT_CORE, setRlimit } from '../../platform/libc/other-process.ts';
import { type Command, CommandError, oneOf, parseOptions, UsageError } from '../cli/command.ts';
import { parseDeviceOption } from '../cli/device-option.ts';
import { IOMMU_HELP, unitsOf } from '../cli/iommu-option.ts';
import { separateKvemu } from '../cli/kvemu-option.ts';
import { MEMLOCK_HELP, parseMemlock } from '../cli/memlock-option.ts';
import { exitStatus } from '../cli/signals.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { thisArchitecture } from '../with/filter/call-numbers.ts';
import { type RecordedHost, recordingHeader } from '../with/record/header.ts';
import { type ProgramEnding, runProgram } from '../with/session.ts';
import type { TraceOutput } from '../with/supervisor/protocol.ts';

const DEFAULT_DEVICE = 'edu';
const DEFAULT_MEMLOCK = 'as-process';
/** As a file for --trace. */
const STDERR = '-';
/** How long a signal to ourselves may take. */
const SIGNAL_MS = 1000;

const HELP = `Usage: livevmm with [--host SOCKET | [--device TYPE[,key=value]...]... [--iommu NAME[,key=value]...]...
       [--profile VERSION] [--memlock LIMIT]] [--map-registers] [--trace[=FILE] [--json]] -- PROGRAM [ARGUMENT]...

Runs a program that was written for Linux's VFIO on the emulated kernel: its /dev/vfio and the PCI devices in its /sys are
those of a livevmm host. The program and all that it starts need no change and no privilege. Static programs are welcome.
Exit status and signals are the program's own. It runs with no_new_privs: programs with the setuid bit gain nothing.

  --host SOCKET          a host that is running (livevmm host); without it there is a private one
  --device TYPE[,...]    a device of the private host, as livevmm host takes it; may be repeated (default ${DEFAULT_DEVICE}).
                         Those that need a --netdev, --chardev or --fsdev are for livevmm host only
${IOMMU_HELP}  --profile VERSION      which kernel's VFIO the private host answers as: ${PROFILE_NAMES.join(', ')} (default ${DEFAULT_PROFILE})
${MEMLOCK_HELP}                         (default as-process, as on Linux: a plain user has 8 MiB)
  --map-registers        BARs of registers can be mapped: each access to such a mapping stops its thread, and is made by the
                         device (x86-64; the program is traced by ptrace, so that no debugger can)
  --trace[=FILE]         a line for each VFIO call of the program, on stderr or in FILE: arguments, result, and for an error
                         the kernel's reason and the rules of docs/rules/vfio.md that say so
  --trace=FILE.vec       a recording of these calls and their answers, for livevmm conform
  --json                 the lines of --trace are JSON documents
`;

/** The options of a private host. */
const HOST_OPTIONS = ['device', 'iommu', 'profile', 'memlock'] as const;

export const with_: Command = {
  help: HELP,
  async run(words) {
    const end = words.indexOf('--');
    const ours = words.slice(0, end < 0 ? words.length : end);
    const program = end < 0 ? [] : words.slice(end + 1);
    const options = parseOptions(
      ours.map((word) => (word === '--trace' ? `--trace=${STDERR}` : word)),
      {
        host: { type: 'string' },
        device: { type: 'string', multiple: true },
        iommu: { type: 'string', multiple: true },
        profile: { type: 'string' },
        memlock: { type: 'string' },
        trace: { type: 'string' },
        json: { type: 'boolean', default: false },
        'map-registers': { type: 'boolean', default: false },
      },
    );
    if (program.length === 0) throw new UsageError('with: name a program after --');
    if (!thisArchitecture) throw new CommandError(`with: there is no supervisor for ${process.arch}`);
    const ofHost = HOST_OPTIONS.find((name) => options[name] !== undefined);
    if (options.host !== undefined && ofHost !== undefined) {
      throw new UsageError(`--${ofHost} is for a private host, and --host names one that is running`);
    }
    const { host, 'map-registers': mapRegisters } = options;
    if (mapRegisters && process.arch !== 'x64') {
      throw new CommandError(`with: --map-registers is for x86-64, and this is ${process.arch}`);
    }
    const trace = openTrace(options, program);
    const folder = new PrivateFolder();
    try {
      const tree = join(folder.path, 'tree');
      mkdirSync(tree);
      const run = (socketPath: string): Promise<ProgramEnding> =>
        runProgram(program, { socketPath, tree, trace, mapRegisters });
      const ending = host === undefined ? onPrivateHost(join(folder.path, 'host.sock'), options, run) : run(host);
      return await endAs(await ending);
    } finally {
      await folder.remove();
    }
  },
};

interface PrivateHostOptions {
  readonly device?: readonly string[] | undefined;
  readonly iommu?: readonly string[] | undefined;
  readonly profile?: string | undefined;
  readonly memlock?: string | undefined;
}

interface TraceOptions extends PrivateHostOptions {
  readonly host?: string | undefined;
  readonly trace?: string | undefined;
  readonly json: boolean;
}

/** Opens what --trace names. A recording begins with the machine. */
function openTrace(options: TraceOptions, program: readonly string[]): TraceOutput | null {
  const { trace: path, json } = options;
  if (path === undefined) {
    if (json) throw new UsageError('--json is about the lines of --trace');
    return null;
  }
  const isRecording = path.endsWith('.vec');
  if (isRecording && json) throw new UsageError('--json is not for a recording (--trace=FILE.vec)');
  if (isRecording && options.host !== undefined) {
    throw new UsageError('a recording (--trace=FILE.vec) is of a private host: leave --host away');
  }
  const fd = path === STDERR ? 2 : openSync(path, 'w');
  if (isRecording) writeSync(fd, recordingHeader(describedHost(options), program));
  return { fd, form: isRecording ? 'recording' : json ? 'json' : 'text', program: basename(program[0]!) };
}

const describedHost = ({ device, iommu, profile, memlock }: PrivateHostOptions): RecordedHost => ({
  devices: device ?? [DEFAULT_DEVICE],
  iommus: iommu ?? [],
  profile: profile ?? DEFAULT_PROFILE,
  memlock: memlock ?? DEFAULT_MEMLOCK,
});

/** The host's threads are this process's own: it may look into a program that it has started. */
async function onPrivateHost<T>(
  socketPath: string,
  options: PrivateHostOptions,
  run: (socketPath: string) => Promise<T>,
): Promise<T> {
  const { devices: described, iommus, profile, memlock } = describedHost(options);
  const { devices, kvemuGroups } = separateKvemu(described.map(parseDeviceOption), 0);
  const board = await startHost({
    ...{ devices, kvemuGroups, socketPath, memlock: parseMemlock(memlock) },
    ...{ profile: oneOf('profile', profile, PROFILE_NAMES), ...unitsOf(iommus) },
  });
  try {
    return await Promise.race([
      run(socketPath),
      board.failed.then((message) => Promise.reject(new CommandError(message))),
    ]);
  } finally {
    await board.stop();
  }
}

/** The program's exit status; the end by its signal, where it ended so. */
async function endAs({ status, signal }: ProgramEnding): Promise<number> {
  if (signal === null) return status ?? 1;
  const { hard } = getRlimit(0, RLIMIT_CORE);
  setRlimit(0, RLIMIT_CORE, { soft: 0n, hard }); // the program has left the core that there may be
  process.kill(process.pid, constants.signals[signal]);
  await new Promise((resolve) => setTimeout(resolve, SIGNAL_MS));
  return exitStatus(null, signal);
}
