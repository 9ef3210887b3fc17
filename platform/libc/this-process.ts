/** This process and its threads: execve(2), _exit(2), prctl(2), signal(2), gettid(2). */
import { fromErrno } from '../errno.ts';
import { check } from './check.ts';
import { setBlocking } from './fd.ts';
import { c, lastErrno } from './ffi.ts';

const SYS_GETTID = { x64: 186, arm64: 178 }[process.arch as 'x64' | 'arm64'] ?? 186;
const PR_SET_DUMPABLE = 4;
const PR_SET_PTRACER = 0x59616d61;
const PR_SET_PDEATHSIG = 1;
const PR_SET_TIMERSLACK = 29;

export function gettid(): number {
  return Number(c.syscall(SYS_GETTID, 0, 0, 0, null, 0, 0));
}

/**
 * execve(2). Does not return on success: every thread and mapping of this process ends, fds with
 * FD_CLOEXEC close. On failure (ENOENT, EACCES, ENOEXEC, …) it throws and nothing has changed.
 * `process.execve` is not used: it aborts on failure.
 */
export function execve(
  path: string,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  const envp = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  c.execve(path, [...argv, null], [...envp, null]);
  throw fromErrno(lastErrno(), `execve ${path}`);
}

/** _exit(2): ends the process without its exit handlers. */
export const exitNow = (status: number): void => {
  c._exit(status);
};

/**
 * Ends the process after its exit handlers. Node's own exit would stop the other threads first, and
 * koffi aborts the process (SIGABRT) when a call of a stopped thread has an error to throw. Node
 * makes pipes of standard input and output non-blocking; whoever shares them gets them blocking.
 */
export function endProcess(status: number): never {
  process.on('exit', (last) => {
    try {
      for (const fd of [0, 1, 2]) setBlocking(fd);
    } finally {
      exitNow(last); // whatever is closed
    }
  });
  process.exit(status);
}

/**
 * Lets process `pid` ptrace this one where Yama restricts it; no effect (and no error) where Yama
 * is absent.
 */
export function allowPtraceBy(pid: number): void {
  c.prctl(PR_SET_PTRACER, pid, 0, 0, 0);
}

/**
 * Makes this process dumpable again, which a change of the uid has ended (prctl(2)): processes that
 * may ptrace this uid can then look at it again.
 */
export function setDumpable(): void {
  c.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/** signal(2) with SIG_DFL: restores the kernel's own disposition in place of Node's. */
export function defaultSignal(signal: number): void {
  c.signal(signal, null);
}

/**
 * Sets the signal that this process gets when the thread that started it ends. The setting survives
 * an execve of an ordinary program.
 */
export function setParentDeathSignal(signal: number): void {
  check(c.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), 'prctl PR_SET_PDEATHSIG');
}

/**
 * Lets Linux end this thread's sleeps no later than `ns` after their time. The default, 50 µs,
 * saves it some wake-ups.
 */
export function setTimerSlack(ns: number): void {
  c.prctl(PR_SET_TIMERSLACK, ns, 0, 0, 0);
}
