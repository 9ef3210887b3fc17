/**
 * The successor's program as a snapshot (snapshot.ts, build-snapshot.ts). The new image's node
 * makes it while the guest still runs, and the preflight tries it. Without a snapshot, a third of
 * the pause is loading and compiling. VMMs of one build and node share it (snapshot-cache.ts).
 */
import { dirname, join } from 'node:path';

import { type CacheFolder, inFolder } from '../../platform/cache-folder.ts';
import { close } from '../../platform/libc/fd.ts';
import { newSealable, sealWhole } from '../../platform/libc/memfd.ts';
import { takeTurn } from '../../platform/turn.ts';
import { readWhole, writeAll } from '../../platform/whole-file.ts';
import { fromSnapshot, nodeOptions } from './node-options.ts';
import { dropSnapshot, findSnapshot, keepSnapshot } from './snapshot-cache.ts';
import { BUILDER, snapshotKey } from './snapshot-key.ts';
import { runSuccessor } from './successor-run.ts';

/**
 * VMMs that need a snapshot at once make it once: one makes it, the others wait. Making takes some
 * 0.5 s. Whoever waits longer than this makes its own.
 */
const MAKING = 'making';
const PATIENCE = { holderMs: 10_000, totalMs: 10_000 };

export interface PreparedSnapshot {
  /** A sealed memfd, close-on-exec; the caller closes it. */
  readonly fd: number;
  /** Whether it lay in the cache: then this node may refuse it. */
  readonly kept: boolean;
  /** Takes it out of the cache: the node refuses it. */
  drop(): void;
}

export interface SnapshotWish {
  readonly node: string;
  /** The VMM's program file. */
  readonly entry: string;
  /** Without one each VMM makes its own. */
  readonly folder: CacheFolder | undefined;
  /** Ends the waiting and the making. */
  readonly signal: AbortSignal | undefined;
}

export class SnapshotSource {
  readonly #node: string;
  readonly #entry: string;
  readonly #signal: AbortSignal | undefined;
  readonly #cache: { readonly folder: CacheFolder; readonly key: string } | undefined;

  constructor({ node, entry, folder, signal }: SnapshotWish) {
    this.#node = node;
    this.#entry = entry;
    this.#signal = signal;
    const key = folder && keyOf(node, entry);
    this.#cache = folder && key !== undefined ? { folder, key } : undefined;
  }

  /** The snapshot in the cache; undefined if there is none. */
  kept(): PreparedSnapshot | undefined {
    const bytes = this.#cache && findSnapshot(this.#cache.folder, this.#cache.key);
    if (!bytes) return undefined;
    const fd = snapshotFile();
    try {
      writeAll(fd, bytes);
    } catch {
      close(fd); // no memory for it
      return undefined;
    }
    return seal(fd) ? this.#prepared(fd, true) : undefined;
  }

  /**
   * A new snapshot, or one that another VMM has made while this one waited for it. undefined: node
   * cannot make one (an older version, no node at all, no time). The update is then only slower.
   */
  async make(): Promise<PreparedSnapshot | undefined> {
    const cache = this.#cache;
    if (!cache) return this.#build();
    const turn = await takeTurn([inFolder(cache.folder, MAKING)], PATIENCE, this.#signal);
    try {
      const made = this.kept() ?? (await this.#build());
      const stillThese = made && !made.kept && keyOf(this.#node, this.#entry) === cache.key;
      if (stillThese) keepSnapshot(cache.folder, cache.key, readWhole(made.fd)); // else the files changed meanwhile
      return made;
    } finally {
      if (turn !== undefined) close(turn);
    }
  }

  /**
   * Lets the node make a snapshot of the VMM. The preflight finds out whether the node accepts its
   * snapshot. It must, because an image that starts from a snapshot that it rejects ends at once,
   * and then there is no way back.
   */
  async #build(): Promise<PreparedSnapshot | undefined> {
    const fd = snapshotFile();
    const builder = join(dirname(this.#entry), BUILDER);
    const words = [...nodeOptions(), ...fromSnapshot(3), '--build-snapshot', builder];
    const { succeeded } = await runSuccessor(this.#node, words, ['ignore', 'ignore', 'ignore', fd], this.#signal);
    if (succeeded && seal(fd)) return this.#prepared(fd, false);
    close(fd);
    return undefined;
  }

  #prepared(fd: number, kept: boolean): PreparedSnapshot {
    const cache = this.#cache;
    return { fd, kept, drop: () => cache && dropSnapshot(cache.folder, cache.key) };
  }
}

/** undefined: this build or this node cannot be read, so nothing can be kept of it. */
function keyOf(node: string, entry: string): string | undefined {
  try {
    return snapshotKey(node, entry);
  } catch {
    return undefined;
  }
}

const snapshotFile = (): number => newSealable('livevmm-snapshot');

/** Returns false if another process may still change the snapshot. */
function seal(fd: number): boolean {
  try {
    sealWhole(fd);
    return true;
  } catch {
    return false; // a writable mapping: EBUSY
  }
}
