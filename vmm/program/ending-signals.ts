/** The signals that end a VMM in good order: the VMM removes its monitor's socket first. */

/** Exit status of a process that the signal ended, as a shell shows it. */
const STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Resolves with the exit status when the first of the signals comes. A second one ends the process
 * at once. To be called as early as possible, because the successor of an exec update has a socket
 * from the beginning.
 *
 * NOT MODELLED: between the execve and this call, a signal still ends the process on the spot, and
 * the guardian takes the guest over as after any death. In the last milliseconds before the execve,
 * the old image's handler takes the signal but has no turn any more, and the signal is lost.
 * Blocking signals over the execve does not help, because Node sets its own mask and dispositions
 * when it starts.
 */
export function endingSignal(): Promise<number> {
  return new Promise((resolve) => {
    for (const [signal, status] of Object.entries(STATUS)) process.once(signal, () => resolve(status));
  });
}
