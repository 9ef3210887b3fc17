/**
 * The program: `livevmm <command> [options]`. A mistake is shown as one line on stderr. A user
 * never sees a stack trace.
 */
import { startEarly } from '../devices/board/early-threads.ts';
import { VERSION } from '../platform/version.ts';
import { type Command, UsageError } from './cli/command.ts';
import { checkFdLimit } from './cli/fd-limit.ts';

interface Listed {
  /** One line for `livevmm --help`. */
  readonly summary: string;
  load(): Promise<Command>;
  /**
   * How many devices of a board of its own it is about to have; undefined: it has no board. The
   * board's threads start first of all, because the guest's first byte waits longest for them.
   */
  ownDevices?(words: readonly string[]): number | undefined;
}

/** Only the command that is asked for is loaded, from a bundle of its own (build.mjs). */
const COMMANDS: Readonly<Record<string, Listed>> = {
  demo: {
    summary: 'replace a busy VMM several times and prove that nothing stopped or was lost',
    load: async () => (await import('./commands/demo.ts')).demo,
  },
  host: {
    summary: 'run a board with devices, and the kernel that offers them by VFIO',
    load: async () => (await import('./commands/host.ts')).host,
  },
  run: {
    summary: 'run a guest, on a host or with a private one',
    load: async () => (await import('./commands/run.ts')).run,
    ownDevices,
  },
  update: {
    summary: 'replace a running VMM by a new image of itself, or of another version or Node',
    load: async () => (await import('./commands/update.ts')).update,
  },
  kexec: {
    summary: 'replace the kernel of a host while its devices go on',
    load: async () => (await import('./commands/kexec.ts')).kexec,
  },
  state: {
    summary: "show a guest's saved state, or compare two",
    load: async () => (await import('./commands/state.ts')).state,
  },
  unplug: {
    summary: 'take a device out of a running host, when its user has closed it',
    load: async () => (await import('./commands/unplug.ts')).unplug,
  },
  info: {
    summary: 'show devices, groups, mappings and counters of a running host',
    load: async () => (await import('./commands/info.ts')).info,
  },
  stress: {
    summary: 'break it, if you can: random work, execs and kills under DMA, with every invariant checked',
    load: async () => (await import('./commands/stress.ts')).stress,
  },
  bench: {
    summary: 'measure DMA, MAP_DMA and update pauses, as ratios in one run',
    load: async () => (await import('./commands/bench.ts')).bench,
  },
  conform: {
    summary: 'compare this kernel with what real ones answered',
    load: async () => (await import('./commands/conform.ts')).conform,
  },
  with: {
    summary: 'run any program that uses VFIO on the emulated kernel',
    load: async () => (await import('./commands/with.ts')).with_,
  },
};

/** What the words of `run` say of a private board. Whoever reads them in full knows better. */
function ownDevices(words: readonly string[]): number | undefined {
  const text = ` ${words.join(' ')}`;
  const nrDevices = text.match(/ --?device[ =](?!virt(io-|console))/g)?.length ?? 0;
  const hasBoard = (nrDevices > 0 || / --?iommu[ =]/.test(text)) && !/ --?host[ =]/.test(text);
  return hasBoard ? nrDevices : undefined;
}

function overview(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)}${summary}`);
  return `Usage: livevmm <command> [options]

A virtual machine monitor that replaces itself by execve while its passed-through devices keep DMAing.

Commands:
${lines.join('\n')}

  livevmm <command> --help     what it does and its options
  livevmm --version

Exit status: 0 well, 1 it failed, 2 the command line makes no sense.
`;
}

/** Words behind `--` are another program's. */
function wantsHelp(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end < 0 ? words.length : end).some((word) => word === '--help' || word === '-h');
}

async function main(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === '--version') {
    process.stdout.write(`livevmm ${VERSION}\n`);
    return 0;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (name === undefined ? process.stderr : process.stdout).write(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`no command '${name}'; see livevmm --help`);
  const { load, ownDevices } = COMMANDS[name]!;
  if (wantsHelp(rest)) {
    process.stdout.write((await load()).help);
    return 0;
  }
  checkFdLimit();
  const nrDevices = ownDevices?.(rest);
  const early = nrDevices === undefined ? undefined : startEarly(nrDevices);
  return (await load()).run(rest, early);
}

/**
 * An error that is no bug is known by what it has: UsageError and CommandError an exit status,
 * SysError an errno, a refused system call of Node's own its name. A command's bundle has classes
 * of its own.
 */
function explain(error: unknown): number {
  const { message } = error as Error;
  const told = error instanceof Error ? error : {};
  const expected = 'exitStatus' in told || 'errno' in told || 'syscall' in told;
  const line = String(message ?? error).split('\n', 1)[0];
  process.stderr.write(`livevmm: ${expected ? '' : 'internal error: '}${line}\n`);
  if (!expected && process.env.LIVEVMM_DEBUG) process.stderr.write(`${(error as Error).stack}\n`);
  return 'exitStatus' in told ? Number(told.exitStatus) : 1;
}

// A reader that goes away (`livevmm info | head -1`) ends us quietly, as SIGPIPE would.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

void main(process.argv.slice(2))
  .catch(explain)
  .then((status) => {
    process.exitCode = status;
  });
