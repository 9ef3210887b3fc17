/**
 * Tells a process that its owner has ended, for whatever reason. The owner holds the only write end
 * of a pipe (or the other end of a socket pair) and never writes. The kernel closes that end when
 * the owner ends. The pipe outlives an execve of either side.
 */
import { Socket } from 'node:net';

import { einval } from './errno.ts';
import { setCloexec } from './libc/fd.ts';

/**
 * Resolves when the far end of `fd` is closed. This module owns the fd from now on, and makes it
 * close-on-exec. EINVAL: neither pipe nor socket.
 */
export function ownerEnded(fd: number): Promise<void> {
  let socket: Socket;
  try {
    setCloexec(fd, true);
    socket = new Socket({ fd, readable: true, writable: false });
  } catch {
    throw einval(`--lifeline ${fd}: give the read end of a pipe`);
  }
  return new Promise((resolve) => {
    socket.on('error', () => {}); // 'close' follows
    socket.once('close', () => resolve());
    socket.resume().unref();
  });
}
