/** Where the sockets of livevmm lie: in a folder that only this user can enter. */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CommandError } from './command.ts';

/** sun_path holds 108 bytes with its NUL (unix(7)). */
const MAX_SOCKET_PATH = 107;

/** $XDG_RUNTIME_DIR/livevmm, or a folder of this user in the temporary directory; made if it does not exist. */
export function runtimeDir(): string {
  const base = process.env.XDG_RUNTIME_DIR;
  const dir = base ? join(base, 'livevmm') : join(tmpdir(), `livevmm-${process.getuid!()}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(dir);
  if (uid !== process.getuid!() || (mode & 0o077) !== 0) {
    throw new CommandError(`${dir} must belong to you alone (mode 0700); set XDG_RUNTIME_DIR or name a socket`);
  }
  return dir;
}

/** A fresh folder for the sockets of one run; the caller removes it. */
export function privateDir(): string {
  return mkdtempSync(join(tmpdir(), 'livevmm-'));
}

export const defaultHostSocket = (): string => join(runtimeDir(), 'host.sock');
export const defaultQmpSocket = (): string => join(runtimeDir(), `qmp-${process.pid}.sock`);

/** Resolves if something accepts connections at `path`. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Makes `path` free to listen on: refuses when somebody answers there, removes a socket that a dead process left. */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new CommandError(`${path}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
  }
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new CommandError(`${path} exists and is not a socket`);
  if (await answers(path)) throw new CommandError(`${path}: somebody is listening there already`);
  unlinkSync(path);
}

/** The monitor socket of the one VMM that runs under the default paths. */
export async function findQmpSocket(): Promise<string> {
  const dir = runtimeDir();
  const names = readdirSync(dir).filter((name) => /^qmp-\d+\.sock$/.test(name));
  const paths = names.map((name) => join(dir, name));
  const alive: string[] = [];
  for (const path of paths) if (await answers(path)) alive.push(path);
  if (alive.length === 1) return alive[0]!;
  if (alive.length === 0) throw new CommandError(`no running VMM found in ${dir}; name its monitor with --qmp PATH`);
  throw new CommandError(`several VMMs are running; choose one with --qmp: ${alive.join(' ')}`);
}
