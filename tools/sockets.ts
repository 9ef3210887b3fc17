/** Where the sockets of livevmm lie: in a folder that only this user can enter. */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isAlive } from '../platform/unix-listener.ts';
import { CommandError } from './command.ts';

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

/** The monitor socket of the one VMM that runs under the default paths. */
export function findQmpSocket(): string {
  const dir = runtimeDir();
  const names = readdirSync(dir).filter((name) => /^qmp-\d+\.sock$/.test(name));
  const alive = names.map((name) => join(dir, name)).filter(isAlive);
  if (alive.length === 1) return alive[0]!;
  if (alive.length === 0) throw new CommandError(`no running VMM found in ${dir}; name its monitor with --qmp PATH`);
  throw new CommandError(`several VMMs are running; choose one with --qmp: ${alive.join(' ')}`);
}
