/**
 * Tells a process that its owner has ended, for whatever reason. The owner holds the only write end
 * of a pipe (or the other end of a socket pair) and never writes. The kernel closes that end when
 * the owner ends. The pipe outlives an execve of either side.
 *
 * Where the lifeline is a socket pair, the process can tell its owner who it is: the owner waits
 * for the process that it started, and another one may run on in its place.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

import { einval } from './errno.ts';
import { setCloexec } from './libc/fd.ts';

/**
 * Resolves when the far end of `fd` is closed. This module owns the fd from now on, and makes it
 * close-on-exec. EINVAL: neither pipe nor socket.
 */
export const ownerEnded = (fd: number): Promise<void> => farEnd(fd).closed;

/** The far end of `fd`, as ownerEnded: when it is closed, and how to stop looking. */
export function farEnd(fd: number): { readonly closed: Promise<void>; forget(): void } {
  let socket: Socket;
  try {
    setCloexec(fd, true);
    socket = new Socket({ fd, readable: true, writable: false });
  } catch {
    throw einval(`--lifeline ${fd}: give the read end of a pipe`);
  }
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => {}); // 'close' follows
    socket.once('close', () => resolve());
    socket.resume().unref();
  });
  return { closed, forget: () => void socket.destroy() };
}

/** What a process tells its owner: a JSON document in a line. */
export interface ToOwner {
  /** This process runs on in place of the one that the owner started. */
  readonly pid?: number;
  /** Such a process ends now, with this exit status. */
  readonly status?: number;
}

/**
 * Tells the owner at the far end of `fd`. An owner that has ended, or holds a pipe, hears nothing.
 */
export function tellOwner(fd: number, what: ToOwner): void {
  try {
    writeSync(fd, `${JSON.stringify(what)}\n`);
  } catch {
    // nobody can hear it
  }
}
