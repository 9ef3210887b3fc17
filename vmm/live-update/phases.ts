/**
 * The phases of an update follow one another. They begin with the last guest instruction in the old
 * image and end with the first in the new.
 */

/** CLOCK_MONOTONIC ns at which each phase ended; `begin` is the last guest instruction. */
export interface PhaseStamps {
  readonly begin: number;
  /** All threads have stopped and given their state. */
  readonly stop: number;
  /** Every vaddr is invalid. */
  readonly invalidate: number;
}

/** The phases in the new image. */
export interface RestoreStamps {
  /** Guest RAM is mapped. */
  readonly mapped: number;
  /** Every vaddr is valid. */
  readonly remapped: number;
  /** Every owner has its section. */
  readonly loaded: number;
  /** The first guest instruction. */
  readonly running: number;
}

export interface ExecStamps extends RestoreStamps {
  /** The sections are complete; execve is the next. */
  readonly complete: number;
  /** Node began in the new image. */
  readonly nodeStart: number;
  /** The first line of our code ran. */
  readonly firstLine: number;
}

export interface TransferStamps extends Pick<RestoreStamps, 'loaded' | 'running'> {
  /** The sections are complete. */
  readonly complete: number;
  /** The new process was told to go on. */
  readonly received: number;
}

type Ms<K extends string> = Readonly<Record<K, number>>;
type Restoring = 'map' | 'remap' | 'load' | 'resume';
type Saving = 'stop' | 'invalidate' | 'save';

/**
 * Each phase of an exec update in milliseconds. `exec` is the work of the kernel and the loader
 * until Node begins; `boot` is Node's own start.
 */
export const phasesMs = (old: PhaseStamps, fresh: ExecStamps): Ms<Saving | 'exec' | 'boot' | Restoring> => ({
  ...savingMs(old, fresh.complete),
  exec: between(fresh.complete, fresh.nodeStart),
  boot: between(fresh.nodeStart, fresh.firstLine),
  ...restoringMs(fresh.firstLine, fresh),
});

/**
 * As phasesMs, of an update by transfer. In `transfer` the word to go on reaches the new process.
 * In `load` that process reads the rest of the state and restores it. The vaddrs became invalid
 * before the pause; the new ones come when the guest runs.
 */
export function transferPhasesMs(
  old: PhaseStamps,
  { complete, received, loaded, running }: TransferStamps,
): Ms<'stop' | 'save' | 'transfer' | 'load' | 'resume'> {
  const { stop, save } = savingMs(old, complete);
  const transfer = between(complete, received);
  return { stop, save, transfer, load: between(received, loaded), resume: between(loaded, running) };
}

const savingMs = ({ begin, stop, invalidate }: PhaseStamps, complete: number): Ms<Saving> => ({
  stop: between(begin, stop),
  invalidate: between(stop, invalidate),
  save: between(invalidate, complete),
});

const restoringMs = (from: number, { mapped, remapped, loaded, running }: RestoreStamps): Ms<Restoring> => ({
  map: between(from, mapped),
  remap: between(mapped, remapped),
  load: between(remapped, loaded),
  resume: between(loaded, running),
});

const between = (from: number, to: number): number => Math.max(0, roundedMs(to - from));

/** Nanoseconds as milliseconds, to the microsecond. */
export const roundedMs = (ns: number): number => Math.round(ns / 1e3) / 1e3;
