/**
 * A process whose memory another one shares (clone(2), CLONE_VM): the child of a posix_spawn(3),
 * which sleeps in the open(2) of the FIFO that is named on the command line. The process says
 * "ready", and then replaces itself by another image of this program for each line of its standard
 * input.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import koffi from 'koffi';

import { setCloexec } from '../../platform/libc/fd.ts';
import { execve } from '../../platform/libc/this-process.ts';

const O_RDONLY = 0;
/** Room for a posix_spawn_file_actions_t; glibc's has 80 bytes. */
const ACTIONS_BYTES = 128;
/** As long as the other word: the addresses on the stack are the same in both images. */
const FIRST = 'first';
const OTHER = 'other';

const [fifo, which] = process.argv.slice(2) as [string, string];

/** Returns when the child sleeps. */
async function share(): Promise<void> {
  const libc = koffi.load(null);
  const actions = Buffer.alloc(ACTIONS_BYTES);
  libc.func('int posix_spawn_file_actions_init(void *actions)')(actions);
  const open = libc.func(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
  );
  open(actions, 0, fifo, O_RDONLY, 0);
  const spawn = libc.func(
    'int posix_spawn(void *pid, const char *path, void *actions, void *attr, const char **argv, const char **envp)',
  );
  // the program does not exist: the child ends when it has opened the file
  spawn.async(null, '', actions, null, ['', null], [null], () => {});
  while (!childSleeps()) await new Promise((resolve) => setImmediate(resolve));
}

function childSleeps(): boolean {
  const children = readdirSync('/proc/self/task').flatMap((tid) =>
    readFileSync(`/proc/self/task/${tid}/children`, 'latin1').split(' ').filter(Boolean),
  );
  return children.some((pid) => existsSync(`/proc/${pid}`) && / S /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')));
}

if (which === FIRST) await share();
process.stdout.write('ready\n');
for await (const _ of createInterface({ input: process.stdin })) {
  for (const fd of [0, 1, 2]) setCloexec(fd, false);
  execve(process.execPath, [process.execPath, ...process.execArgv, process.argv[1]!, fifo, OTHER], process.env);
}
