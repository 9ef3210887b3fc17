/**
 * A process with a holder. It says {lease, pid}, or null if there is none, and then does what the
 * lines of its standard input say: `end` lets the holder end, `exec` replaces the process by
 * another one of this program, which has the holder then. Each time it says "done".
 * With the word `full` the process can open no more fds.
 */
import { createInterface } from 'node:readline';

import { setCloexec } from '../../../platform/libc/fd.ts';
import { endHolder, holdMemory, type MemoryHolder } from '../../../platform/libc/memory-holder.ts';
import { getRlimit, RLIMIT_NOFILE, setRlimit } from '../../../platform/libc/other-process.ts';
import { execve } from '../../../platform/libc/this-process.ts';

/**
 * Always as long: each image has the same addresses on its stack, unless Linux takes random ones.
 */
const word = process.argv[2]!;
const say = (what: unknown): void => void process.stdout.write(`${JSON.stringify(what)}\n`);

async function begin(): Promise<MemoryHolder | undefined> {
  if (word.startsWith('{')) {
    say('done');
    return JSON.parse(word) as MemoryHolder;
  }
  if (word.trim() === 'full') setRlimit(0, RLIMIT_NOFILE, { ...getRlimit(0, RLIMIT_NOFILE), soft: 3n });
  const holder = await holdMemory();
  say(holder ?? null);
  return holder;
}

const holder = await begin();
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') await endHolder(holder!).then(() => say('done'));
  if (line === 'exec') {
    for (const fd of [0, 1, 2, holder!.lease]) setCloexec(fd, false);
    execve(
      process.execPath,
      [process.execPath, ...process.execArgv, process.argv[1]!, JSON.stringify(holder).padEnd(word.length)],
      process.env,
    );
  }
}
