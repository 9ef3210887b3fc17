/**
 * The program: `livevmm <command> [options]`. A mistake is shown as one line on stderr. A user
 * never sees a stack trace.
 */
import { SysError } from '../platform/errno.ts';
import { VERSION } from '../platform/version.ts';
import { type Command, CommandError, UsageError } from './cli/command.ts';
import { checkFdLimit } from './cli/fd-limit.ts';
import { bench } from './commands/bench.ts';
import { conform } from './commands/conform.ts';
import { demo } from './commands/demo.ts';
import { host } from './commands/host.ts';
import { info } from './commands/info.ts';
import { run } from './commands/run.ts';
import { state } from './commands/state.ts';
import { stress } from './commands/stress.ts';
import { update } from './commands/update.ts';
import { with_ } from './commands/with.ts';

const COMMANDS: Readonly<Record<string, Command>> = {
  ...{ demo, host, run, update, state, info, stress, bench, conform },
  with: with_,
};

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
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name]! : undefined;
  if (!command) throw new UsageError(`no command '${name}'; see livevmm --help`);
  if (wantsHelp(rest)) {
    process.stdout.write(command.help);
    return 0;
  }
  checkFdLimit();
  return command.run(rest);
}

function explain(error: unknown): number {
  const { message } = error as Error;
  const expected =
    error instanceof UsageError ||
    error instanceof CommandError ||
    error instanceof SysError ||
    (error instanceof Error && 'syscall' in error); // a system call of Node's own refused
  const line = String(message ?? error).split('\n', 1)[0];
  process.stderr.write(`livevmm: ${expected ? '' : 'internal error: '}${line}\n`);
  if (!expected && process.env.LIVEVMM_DEBUG) process.stderr.write(`${(error as Error).stack}\n`);
  return error instanceof UsageError ? 2 : 1;
}

// A reader that goes away (`livevmm info | head -1`) ends us quietly, as SIGPIPE would.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await main(process.argv.slice(2)).catch(explain);
