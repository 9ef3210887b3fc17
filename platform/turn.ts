/**
 * A turn among processes: one of them has it, the others wait. A turn is a UNIX socket at which its
 * holder listens (unix-listener.ts). So it ends with its holder, however that ends; it goes over an
 * execve like any fd; and it wakes those who wait. Each of them is connected to the socket, and the
 * connection ends when the last fd of the socket is closed. Nobody ever accepts.
 *
 * A turn keeps processes out of each other's way. It protects nothing: a holder that takes too long
 * loses it and is not told.
 */
import { unlinkSync } from 'node:fs';
import { connect } from 'node:net';

import { monotonicNs } from './clock.ts';
import { codeOf } from './errno.ts';
import { listenUnix } from './unix-listener.ts';

export interface Patience {
  /** How long one holder may keep a turn from somebody who waits. */
  readonly holderMs: number;
  /** How long to wait in all. */
  readonly totalMs: number;
}

/**
 * Waits for one of the turns at `paths`. Returns a close-on-exec fd; the turn ends when it is
 * closed. undefined: none could be had in time, or before `signal` aborted, or turns cannot be made
 * there at all.
 */
export async function takeTurn(
  paths: readonly string[],
  { holderMs, totalMs }: Patience,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const deadline = monotonicNs() + totalMs * 1e6;
  for (;;) {
    for (const path of paths) {
      const fd = listenHere(path);
      if (fd !== 'taken') return fd;
    }
    const leftMs = (deadline - monotonicNs()) / 1e6;
    if (leftMs <= 0 || signal?.aborted) return undefined;
    const woken = await oneEnds(paths, Math.min(holderMs, leftMs), signal);
    if (!woken && holderMs < leftMs) forget(paths[0]!);
  }
}

/** undefined: it cannot be had there. */
function listenHere(path: string): number | 'taken' | undefined {
  try {
    return listenUnix(path);
  } catch (error) {
    return codeOf(error) === 'EADDRINUSE' ? 'taken' : undefined;
  }
}

/**
 * Resolves with true when one of the turns ends or `signal` aborts, with false after `timeoutMs`. A
 * queue that is full (EAGAIN) tells nothing about its turn.
 */
function oneEnds(paths: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const sockets = paths.map((path) => connect(path));
    const end = (ended: boolean): void => {
      clearTimeout(late);
      signal?.removeEventListener('abort', abort);
      for (const socket of sockets) socket.destroy();
      resolve(ended);
    };
    const late = setTimeout(() => end(false), timeoutMs);
    const abort = (): void => end(true);
    signal?.addEventListener('abort', abort);
    for (const socket of sockets) {
      let full = false;
      socket.on('error', (error) => {
        full = codeOf(error) === 'EAGAIN';
      });
      socket.on('close', () => {
        if (!full) end(true);
      });
    }
  });
}

/** Takes a turn from its holder: the next one who looks finds nobody there. */
function forget(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it has ended meanwhile
  }
}
