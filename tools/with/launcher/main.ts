/**
 * The program `with-launcher`: puts the filter on itself, lets the supervisor take the fd at which
 * the calls arrive, and becomes the user's program. Its words: the soft limit of open files that
 * the program shall have (or -), the pid of its fault handler (or -), the program, and its
 * arguments. Fd 3 leads to the supervisor.
 */
import { readSync, writeSync } from 'node:fs';
import { codeOf, SysError } from '../../../platform/errno.ts';
import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { getRlimit, RLIMIT_NOFILE, setRlimit } from '../../../platform/libc/other-process.ts';
import { installFilter } from '../../../platform/libc/seccomp.ts';
import { allowPtraceBy, defaultSignal, execve, setParentDeathSignal } from '../../../platform/libc/this-process.ts';
import { thisArchitecture } from '../filter/call-numbers.ts';
import { filterFor } from '../filter/filter.ts';
import { LAUNCHER_FD, NOT_EXECUTABLE, NOT_FOUND } from './handshake.ts';

const SIGKILL = 9;
/** Node ignores these, and what is ignored stays so over execve. */
const IGNORED_BY_NODE = [13, 25]; // SIGPIPE, SIGXFSZ

function explain(line: string, status: number): never {
  process.stderr.write(`livevmm: ${line}\n`);
  process.exit(status);
}

/** What Node has changed about a process, and a program would inherit. */
function undoNode(nofile: string): void {
  for (const signal of IGNORED_BY_NODE) defaultSignal(signal);
  for (const fd of [0, 1, 2]) setCloexec(fd, false);
  if (nofile === '-') return;
  const { hard } = getRlimit(0, RLIMIT_NOFILE);
  const soft = BigInt(nofile);
  setRlimit(0, RLIMIT_NOFILE, { soft: soft < hard ? soft : hard, hard });
}

/** As execvp(3) searches; it does not start a shell for a file of another format. */
function becomeProgram(program: string, words: readonly string[]): never {
  const folders = program.includes('/')
    ? ['']
    : (process.env.PATH ?? '/usr/bin:/bin').split(':').map((dir) => `${dir || '.'}/`);
  let refusal: SysError | undefined;
  for (const folder of folders) {
    try {
      execve(`${folder}${program}`, [program, ...words], process.env);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (!['ENOENT', 'ENOTDIR'].includes(error.code)) refusal ??= error;
    }
  }
  if (refusal) explain(`${program}: ${refusal.code}`, NOT_EXECUTABLE);
  return explain(`${program}: not found`, NOT_FOUND);
}

function installedFilter(): number {
  try {
    return installFilter(filterFor(thisArchitecture!));
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EINVAL') explain('seccomp: EINVAL; Linux 5.19 or later is needed', NOT_EXECUTABLE);
    if (code === 'EBUSY') explain('seccomp: EBUSY; this process is under a supervisor already', NOT_EXECUTABLE);
    return explain(`seccomp: ${code}; this system does not allow it`, NOT_EXECUTABLE);
  }
}

const [nofile = '-', faultHandler = '-', program = '', ...words] = process.argv.slice(2);
setParentDeathSignal(SIGKILL);
undoNode(nofile);
if (faultHandler !== '-') allowPtraceBy(Number(faultHandler));
const listener = installedFilter();
// From here to the answer, this thread must make no call that the filter traps.
writeSync(LAUNCHER_FD, `${listener}\n`);
if (readSync(LAUNCHER_FD, new Uint8Array(1)) === 0) process.exit(NOT_EXECUTABLE); // the supervisor says why
close(LAUNCHER_FD);
close(listener);
becomeProgram(program, words);
