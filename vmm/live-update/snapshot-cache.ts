/**
 * Snapshots that other VMMs of this user have made, in the cache folder. A snapshot is a program
 * that the successor runs, so only one that this user wrote, that is whole and that has this very
 * key is taken. Nothing here throws: a cache that does not work makes an update slower, and never
 * fails it.
 *
 * A file is the SHA-256 of key and snapshot, and then the snapshot.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';

import { type CacheFolder, inFolder, isOwn } from '../../platform/cache-folder.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const HASH_BYTES = 32;
/** A snapshot has some 5 MB. */
const MAX_BYTES = 64 << 20;
/** How many snapshots are kept: those that were used last. */
const KEPT = 4;
/** A file that is still being written after so long was given up by its writer. */
const WRITING_MS = 60_000;

const nameOf = (key: string): string => `${key}.snapshot`;
const NAME = /^[0-9a-f]{64}\.snapshot$/;
const UNFINISHED = /^[0-9a-f]{64}\.\d+\.new$/;

/** The snapshot with this key; undefined if there is none that can be used. */
export function findSnapshot(folder: CacheFolder, key: string): Buffer | undefined {
  const path = inFolder(folder, nameOf(key));
  let fd: number | undefined;
  try {
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stat = fstatSync(fd);
    const sound = stat.isFile() && isOwn(fd) && stat.size > HASH_BYTES && stat.size <= MAX_BYTES;
    const snapshot = sound ? checked(readFileSync(fd), key) : undefined;
    if (snapshot) futimesSync(fd, new Date(), new Date());
    else dropSnapshot(folder, key);
    return snapshot;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function checked(file: Buffer, key: string): Buffer | undefined {
  const snapshot = file.subarray(HASH_BYTES);
  return hashOf(key, snapshot).equals(file.subarray(0, HASH_BYTES)) ? snapshot : undefined;
}

const hashOf = (key: string, snapshot: Uint8Array): Buffer =>
  createHash('sha256').update(key).update(snapshot).digest();

/** Keeps a snapshot. Others see it whole or not at all. */
export function keepSnapshot(folder: CacheFolder, key: string, snapshot: Uint8Array): void {
  const unfinished = inFolder(folder, `${key}.${process.pid}.new`);
  try {
    rmSync(unfinished, { force: true }); // of an earlier process with this pid
    const fd = openSync(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      writeFileSync(fd, hashOf(key, snapshot));
      writeFileSync(fd, snapshot);
    } finally {
      closeSync(fd);
    }
    renameSync(unfinished, inFolder(folder, nameOf(key)));
  } catch {
    remove(unfinished); // ENOSPC, EDQUOT, EROFS, …
  }
  removeOld(folder);
}

/** Forgets the snapshot with this key. */
export const dropSnapshot = (folder: CacheFolder, key: string): void => remove(inFolder(folder, nameOf(key)));

function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // it stays, and is looked at again next time
  }
}

/** Removes all snapshots but the newest, and what writers have left behind. */
function removeOld(folder: CacheFolder): void {
  const files = namesIn(folder).flatMap((name) => {
    const path = inFolder(folder, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    return stat?.isFile() ? [{ name, path, mtimeMs: stat.mtimeMs }] : [];
  });
  const snapshots = files.filter(({ name }) => NAME.test(name)).toSorted((a, b) => b.mtimeMs - a.mtimeMs);
  const abandoned = files.filter(({ name, mtimeMs }) => UNFINISHED.test(name) && Date.now() - mtimeMs > WRITING_MS);
  for (const { path } of [...snapshots.slice(KEPT), ...abandoned]) remove(path);
}

function namesIn(folder: CacheFolder): string[] {
  try {
    return readdirSync(inFolder(folder, '.'));
  } catch {
    return []; // not readable: nothing is removed
  }
}
