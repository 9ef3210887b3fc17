/** Paths of livevmm's sockets. They lie in a folder that only this user can enter. */
import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { MAX_SOCKET_PATH } from '../../platform/libc/unix-socket.ts';
import { isAlive, removeDeadSocket } from '../../platform/unix-listener.ts';
import { CommandError } from '../cli/command.ts';

/** The longest path below a folder for temporary files: folder and socket. */
const LONGEST_NAME = '/livevmm-4294967295/qmp-4194304.sock';
/** A short name that every Linux has (file-hierarchy(7)). */
const SHORT_DIR = '/tmp';

/** $TMPDIR, unless the paths of sockets in it would be too long for Linux. */
export function temporaryDir(): string {
  const wanted = tmpdir();
  return Buffer.byteLength(wanted + LONGEST_NAME) <= MAX_SOCKET_PATH ? wanted : SHORT_DIR;
}

/**
 * $XDG_RUNTIME_DIR/livevmm, or a folder of this user in the temporary directory; made if it does
 * not exist.
 */
export function runtimeDir(): string {
  const base = process.env.XDG_RUNTIME_DIR;
  const dir = base ? join(base, 'livevmm') : join(temporaryDir(), `livevmm-${process.getuid!()}`);
  makeFolder(dir);
  const { uid, mode } = lstatSync(dir);
  if (uid !== process.getuid!() || (mode & 0o077) !== 0) {
    throw new CommandError(`${dir} must belong to you alone (mode 0700); set XDG_RUNTIME_DIR or name a socket`);
  }
  return dir;
}

/** Makes a folder, which may exist already. Its parent must exist. */
function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

export const defaultHostSocket = (): string => join(runtimeDir(), 'host.sock');

/**
 * The monitor socket of the VMM that this process becomes or starts. Sockets that dead VMMs left
 * beside it are removed, half made ones, too.
 */
export function defaultQmpSocket(): string {
  for (const path of inRuntimeDir(/^qmp-\d+\.sock~?$/)) removeDeadSocket(path);
  return join(runtimeDir(), `qmp-${process.pid}.sock`);
}

function inRuntimeDir(pattern: RegExp): string[] {
  const dir = runtimeDir();
  const names = readdirSync(dir).filter((name) => pattern.test(name));
  return names.map((name) => join(dir, name));
}

/** The monitor socket of the one VMM that runs under the default paths. */
export function findQmpSocket(): string {
  const alive = inRuntimeDir(/^qmp-\d+\.sock$/).filter(isAlive);
  if (alive.length === 1) return alive[0]!;
  if (alive.length === 0)
    throw new CommandError(`no running VMM found in ${runtimeDir()}; name its monitor with --qmp PATH`);
  throw new CommandError(`several VMMs are running; choose one with --qmp: ${alive.join(' ')}`);
}
