/** Signals that ask a foreground program to end. */
import { constants } from 'node:os';

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type EndingSignal = (typeof ENDING)[number];

/** Calls `handler` for SIGINT, SIGTERM and SIGHUP from now on; returns how to stop. */
export function onEndingSignal(handler: (signal: EndingSignal) => void): () => void {
  for (const signal of ENDING) process.on(signal, handler);
  return () => {
    for (const signal of ENDING) process.off(signal, handler);
  };
}

/** Resolves with the first signal that asks this process to end. */
export function untilEndingSignal(): Promise<EndingSignal> {
  return new Promise((resolve) => {
    const stop = onEndingSignal((signal) => {
      stop();
      resolve(signal);
    });
  });
}

/** The exit status a shell shows for a child: its own, or 128 + the signal that ended it. */
export function exitStatus(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal ? constants.signals[signal] : 0);
}
