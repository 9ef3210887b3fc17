/**
 * Signals as a script sees them. The process in the script has the kernel's default for each signal
 * until a `signal` step installs an empty handler. Node differs: it ignores SIGPIPE, and SIGUSR1
 * starts its debugger.
 */
import { constants } from 'node:os';

import { einval } from '../../../platform/errno.ts';
import { defaultSignal } from '../../../platform/libc/this-process.ts';

const { SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH } = constants.signals;
/** Signals that do nothing by default, or stop the process (signal(7)). */
const NOT_DEADLY: readonly number[] = [
  0,
  ...[SIGCHLD, SIGCONT, SIGURG, SIGWINCH],
  ...[SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU],
];

/** Restores the kernel's default for signals that Node has taken. */
export function restoreDefaults(...names: readonly ('SIGPIPE' | 'SIGUSR1')[]): void {
  for (const name of names) defaultSignal(constants.signals[name]);
}

/**
 * Installs an empty handler for the whole process. Only the main thread may call this. EINVAL for a
 * signal that cannot be handled.
 */
export function handleSignal(signal: number): void {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  if (name === undefined || signal === SIGKILL || signal === SIGSTOP) throw einval(`signal ${signal}`);
  process.on(name as NodeJS.Signals, () => {});
}

/** Whether the signal ends a process that has handlers for `handled`. */
export const isDeadly = (signal: number, handled: ReadonlySet<number>): boolean =>
  !handled.has(signal) && !NOT_DEADLY.includes(signal);
