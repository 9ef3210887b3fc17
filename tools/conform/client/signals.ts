/**
 * Signals as a script sees them: the process it describes has the kernel's default for each until a
 * `signal` step installs an empty handler. Node has ideas of its own: it ignores SIGPIPE and lets
 * SIGUSR1 start its debugger.
 */
import { constants } from 'node:os';

import { einval } from '../../../platform/errno.ts';
import { defaultSignal } from '../../../platform/libc.ts';

const { SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH } = constants.signals;
/** Their default is to do nothing, or to stop the process (signal(7)). */
const NOT_DEADLY: readonly number[] = [
  0,
  ...[SIGCHLD, SIGCONT, SIGURG, SIGWINCH],
  ...[SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU],
];

/** Gives this process the kernel's own dispositions of signals that Node has taken. */
export function restoreDefaults(...names: readonly ('SIGPIPE' | 'SIGUSR1')[]): void {
  for (const name of names) defaultSignal(constants.signals[name]);
}

/**
 * An empty handler, for the whole process: by its main thread only. EINVAL for a signal that nobody
 * can handle.
 */
export function handleSignal(signal: number): void {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  if (name === undefined || signal === SIGKILL || signal === SIGSTOP) throw einval(`signal ${signal}`);
  process.on(name as NodeJS.Signals, () => {});
}

/** Whether a process that has handlers for `handled` ends by that signal. */
export const isDeadly = (signal: number, handled: ReadonlySet<number>): boolean =>
  !handled.has(signal) && !NOT_DEADLY.includes(signal);
