/** The signals that end a VMM in good order: with its monitor's socket removed. */

/** Exit status of a process that the signal ended, as a shell shows it. */
const STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Resolves with the exit status when the first of them comes; a second one ends the process at
 * once. To be called as early as can be, because in the successor of an exec update there is
 * already a socket.
 *
 * NOT MODELLED: between the execve and this a signal still ends the process on the spot, and the
 * socket file stays; in the last milliseconds before the execve it is taken by the old image's
 * handler, which has no turn any more, and is lost. Blocking signals over the execve does not help,
 * because Node sets its own mask and dispositions when it starts.
 */
export function endingSignal(): Promise<number> {
  return new Promise((resolve) => {
    for (const [signal, status] of Object.entries(STATUS)) process.once(signal, () => resolve(status));
  });
}
