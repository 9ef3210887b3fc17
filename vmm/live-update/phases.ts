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

export interface ResumeStamps {
  /** The sections lie in the memfd, and execve was called. */
  readonly execve: number;
  /** Node began in the new image. */
  readonly nodeStart: number;
  /** The first line of our code ran. */
  readonly firstLine: number;
  /** Guest RAM is mapped. */
  readonly mapped: number;
  /** Every vaddr is valid. */
  readonly remapped: number;
  /** Every owner has its section. */
  readonly loaded: number;
  /** The first guest instruction. */
  readonly running: number;
}

const PHASES = ['stop', 'invalidate', 'save', 'exec', 'boot', 'map', 'remap', 'load', 'resume'] as const;
export type PhasesMs = Readonly<Record<(typeof PHASES)[number], number>>;

/**
 * Each phase in milliseconds. `exec` is the work of the kernel and the loader until Node begins;
 * `boot` is Node's own start.
 */
export function phasesMs(old: PhaseStamps, fresh: ResumeStamps): PhasesMs {
  const ms = (from: number, to: number): number => Math.max(0, roundedMs(to - from));
  return {
    stop: ms(old.begin, old.stop),
    invalidate: ms(old.stop, old.invalidate),
    save: ms(old.invalidate, fresh.execve),
    exec: ms(fresh.execve, fresh.nodeStart),
    boot: ms(fresh.nodeStart, fresh.firstLine),
    map: ms(fresh.firstLine, fresh.mapped),
    remap: ms(fresh.mapped, fresh.remapped),
    load: ms(fresh.remapped, fresh.loaded),
    resume: ms(fresh.loaded, fresh.running),
  };
}

/** Nanoseconds as milliseconds, to the microsecond. */
export const roundedMs = (ns: number): number => Math.round(ns / 1e3) / 1e3;
