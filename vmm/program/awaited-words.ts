/**
 * The command line of a VMM that was started before it was known. Its owner starts at the same
 * time, reads the user's command line, and writes the VMM's into a pipe, as one line. With it comes
 * the name of an abstract socket at which the owner listens: the connection becomes the lifeline
 * (platform/lifeline.ts). An owner that ends without a word has closed the pipe.
 */
import { readSync } from 'node:fs';

import { codeOf } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { connectUnix } from '../../platform/libc/unix-socket.ts';

/** `vmm --await FD`; FD is the read end of the pipe. */
export const AWAIT = '--await';

export interface AwaitedWords {
  readonly words: readonly string[];
  readonly owner: string;
}

const CHUNK = 1 << 16;

/**
 * Sleeps until the command line comes, and connects to the owner. undefined: the owner has ended.
 */
export function awaitWords(fd: number): readonly string[] | undefined {
  const line = readLine(fd);
  close(fd);
  if (line === undefined) return undefined;
  const { words, owner } = JSON.parse(line) as AwaitedWords;
  try {
    return [...words, '--lifeline', String(connectUnix(`\0${owner}`))];
  } catch (error) {
    if (codeOf(error) !== 'ECONNREFUSED') throw error;
    return undefined;
  }
}

function readLine(fd: number): string | undefined {
  const chunk = new Uint8Array(CHUNK);
  let line = Buffer.alloc(0);
  while (!line.includes('\n')) {
    const length = readSync(fd, chunk);
    if (length === 0) return undefined;
    line = Buffer.concat([line, chunk.subarray(0, length)]);
  }
  return line.toString();
}
