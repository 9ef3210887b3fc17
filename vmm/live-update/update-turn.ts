/**
 * The updates of a user's VMMs take turns, because two that share a CPU make each other's pause
 * longer. The turn goes over the exec, and lasts until the guest's threads run it again.
 */
import { availableParallelism } from 'node:os';

import { type CacheFolder, inFolder } from '../../platform/cache-folder.ts';
import { takeTurn } from '../../platform/turn.ts';

/** An update has some work in parallel: threads that end and that start, node's own threads. */
const CPUS_PER_UPDATE = 2;
/** An update takes some 0.5 s. One that takes much longer does not hold up the others. */
const PATIENCE = { holderMs: 5000, totalMs: 20_000 };

/** Files in the cache folder, one for each update that may be under way. */
export function turnNames(): string[] {
  const turns = Math.max(1, Math.floor(availableParallelism() / CPUS_PER_UPDATE));
  return Array.from({ length: turns }, (_, i) => `turn-${i}`);
}

/** As takeTurn. */
export function takeUpdateTurn(folder: CacheFolder, signal?: AbortSignal): Promise<number | undefined> {
  return takeTurn(
    turnNames().map((name) => inFolder(folder, name)),
    PATIENCE,
    signal,
  );
}
