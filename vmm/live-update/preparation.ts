/**
 * What an update does before it takes the guest: it waits for its turn, gets the successor's
 * snapshot, and asks the successor whether it can take the guest over.
 */
import { type CacheFolder, openCacheFolder } from '../../platform/cache-folder.ts';
import { monotonicNs } from '../../platform/clock.ts';
import { close } from '../../platform/libc/fd.ts';
import type { Vm } from '../vm/vm.ts';
import { offerSections, writeManifest } from './manifest.ts';
import { askSuccessor } from './preflight.ts';
import { type PreflightReport, withOffers } from './preflight-report.ts';
import { type PreparedSnapshot, SnapshotSource } from './prepared-snapshot.ts';
import type { Form } from './releases.ts';
import { takeUpdateTurn } from './update-turn.ts';

export interface Candidate {
  readonly node: string;
  readonly entry: string;
  /** In which form the sections are written. */
  readonly form: Form;
}

interface Surroundings {
  readonly folder: CacheFolder | undefined;
  /** Ends everything that waits. */
  readonly signal: AbortSignal | undefined;
}

interface Answer {
  readonly snapshotFd: number | undefined;
  /** Where it came from: the cache, this update, or nowhere. */
  readonly snapshot: 'kept' | 'made' | 'none';
  readonly report: PreflightReport;
  /** Of the process that answered (preflight.ts). */
  readonly startMs: number | undefined;
}

export interface Preparation extends Answer {
  /** The turn lasts until every fd of it is closed. undefined: the update goes without one. */
  readonly turnFd: number | undefined;
  readonly turnMs: number;
  readonly preflightMs: number;
}

/**
 * The caller releases the preparation. EINVAL: the successor does not answer. The reason of
 * `signal`, when that aborts.
 */
export async function prepare(vm: Vm, candidate: Candidate, signal?: AbortSignal): Promise<Preparation> {
  const folder = openCacheFolder();
  try {
    const begin = monotonicNs();
    const turnFd = folder && (await takeUpdateTurn(folder, signal));
    const turn = monotonicNs();
    try {
      signal?.throwIfAborted();
      const answer = await ask(vm, candidate, { folder, signal });
      return { ...answer, turnFd, turnMs: (turn - begin) / 1e6, preflightMs: (monotonicNs() - turn) / 1e6 };
    } catch (error) {
      if (turnFd !== undefined) close(turnFd);
      throw error;
    }
  } finally {
    if (folder) close(folder.fd);
  }
}

/** What the new image tells of it. */
export const timesOf = ({ snapshot, turnMs, preflightMs }: Preparation) => ({ snapshot, turnMs, preflightMs });

export function release({ snapshotFd, turnFd }: Preparation): void {
  for (const fd of [snapshotFd, turnFd]) if (fd !== undefined) close(fd);
}

/**
 * Asks the successor as it will be started. A snapshot from the cache may be one that this node or
 * this machine cannot use, so what it says against itself is not believed. A successor that does
 * not answer from a new one is asked without a snapshot: that answer says why.
 */
async function ask(vm: Vm, candidate: Candidate, surroundings: Surroundings): Promise<Answer> {
  const { signal } = surroundings;
  const source = new SnapshotSource({ ...candidate, ...surroundings });
  const offers = offerSections(vm, candidate.form);
  const manifestFd = writeManifest(vm, offers);
  const askFrom = async (prepared: PreparedSnapshot | undefined): Promise<Answer> => {
    const snapshotFd = prepared?.fd;
    const { report, startMs } = await askSuccessor({ ...candidate, snapshotFd }, manifestFd, signal);
    return { snapshotFd, snapshot: origin(prepared), report: withOffers(report, offers), startMs };
  };
  try {
    const kept = source.kept();
    if (kept) {
      const answer = await askFrom(kept).catch(() => undefined);
      if (answer?.report.checks.every(({ ok }) => ok)) return answer;
      close(kept.fd);
      signal?.throwIfAborted(); // then it is not the snapshot's fault
      kept.drop();
    }
    const made = await source.make();
    if (made) {
      const answer = await askFrom(made).catch(() => undefined);
      if (answer) return answer;
      close(made.fd);
      signal?.throwIfAborted(); // then it is not the snapshot's fault
      made.drop();
    }
    return await askFrom(undefined);
  } finally {
    close(manifestFd);
  }
}

function origin(prepared: PreparedSnapshot | undefined): Answer['snapshot'] {
  if (!prepared) return 'none';
  return prepared.kept ? 'kept' : 'made';
}
