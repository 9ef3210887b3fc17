/**
 * The folder where programs of livevmm keep what they can make again. It belongs to the user, and
 * nobody else may write there. Files are reached through the open folder, so nobody can put another
 * one in its place, and their paths are short enough for sockets.
 */
import { accessSync, closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';

import { codeOf } from './errno.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, W_OK, X_OK } = constants;
const PRIVATE = 0o700;
const OTHERS_WRITE = 0o022;

/** An open cache folder. The caller closes `fd`. */
export interface CacheFolder {
  readonly fd: number;
}

/** Its file `name`, while the folder is open in this process. */
export const inFolder = ({ fd }: CacheFolder, name: string): string => `/proc/self/fd/${fd}/${name}`;

/**
 * The folders to try, best first: LIVEVMM_CACHE; else `livevmm` in XDG_CACHE_HOME or ~/.cache, and
 * then in XDG_RUNTIME_DIR (XDG Base Directory Specification 0.8). An empty LIVEVMM_CACHE: none. A
 * path that is not absolute does not count.
 */
export function cacheFolders(env: NodeJS.ProcessEnv): string[] {
  const { LIVEVMM_CACHE: own, XDG_CACHE_HOME: cache, XDG_RUNTIME_DIR: runtime, HOME: home } = env;
  if (own !== undefined) return isAbsolute(own) ? [own] : [];
  const base = usable(cache) ?? (usable(home) && join(home!, '.cache'));
  return [base, usable(runtime)].flatMap((folder) => (folder === undefined ? [] : [join(folder, 'livevmm')]));
}

const usable = (path: string | undefined): string | undefined =>
  path !== undefined && isAbsolute(path) ? path : undefined;

/** Opens the first folder that is, or can be made, ours alone. undefined: there is none. */
export function openCacheFolder(env: NodeJS.ProcessEnv = process.env): CacheFolder | undefined {
  for (const path of cacheFolders(env)) {
    const fd = openOwn(path);
    if (fd !== undefined) return { fd };
  }
  return undefined;
}

function openOwn(path: string): number | undefined {
  let fd: number | undefined;
  try {
    makeFolder(path);
    fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    accessSync(`/proc/self/fd/${fd}`, W_OK | X_OK); // EROFS, too
    if (isOwn(fd)) return fd;
  } catch {
    // no such folder can be made, or it is not ours: the next one
  }
  if (fd !== undefined) closeSync(fd);
  return undefined;
}

/** Makes the folder, and its parent if that is all that lacks. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, PRIVATE);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (codeOf(error) !== 'ENOENT') throw error;
    mkdirSync(dirname(path), PRIVATE);
    mkdirSync(path, PRIVATE);
  }
}

/** Whether the file behind `fd` belongs to this user, and no other user may write it. */
export function isOwn(fd: number): boolean {
  const { uid, mode } = fstatSync(fd);
  return uid === process.geteuid!() && (mode & OTHERS_WRITE) === 0;
}
