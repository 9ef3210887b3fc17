/**
 * What an update would cost, for `query-live-update`: what was measured just now, what the last
 * update took, and an estimate of the pause that says where it comes from.
 */
import { fstatSync } from 'node:fs';

import { monotonicNs } from '../../platform/clock.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { Vm } from '../vm/vm.ts';
import type { PreflightReport } from './preflight-report.ts';
import type { Preparation } from './preparation.ts';
import { encodeState } from './state-file.ts';
import { saveSteady } from './survivors.ts';

/** Measured while the guest runs, beside it. */
export interface MeasuredCost {
  /** The wait for the update's turn among those of other VMMs. */
  readonly turnMs: number;
  /** The snapshot's making, if it had to be made, and the answer. */
  readonly preflightMs: number;
  /** Whether the snapshot lay in the cache, was made for this, or could not be made. */
  readonly snapshot: 'kept' | 'made' | 'none';
  readonly snapshotBytes: number;
  /** The new image's process, from its start to the first line of its program. */
  readonly startMs?: number;
  /** Saving the sections that can be saved while the guest runs: the quickest of some times. */
  readonly saveMs: number;
  /** The size of a state file of these sections. */
  readonly steadyStateBytes: number;
  /** How many ranges of vaddrs become invalid, and valid again. */
  readonly dmaRanges: number;
}

/** An estimate of the pause. */
export interface EstimatedPause {
  readonly pauseMs: number;
  /**
   * last-update: what the update took that brought this image. preflight: the sum of `startMs` and
   * `saveMs`.
   */
  readonly from: 'last-update' | 'preflight';
  /** The phases that the estimate leaves out, because nothing measured them. */
  readonly without: readonly string[];
}

export interface UpdateCost {
  readonly measured: MeasuredCost;
  /** The content of the LIVE_UPDATE event of the update that brought this image. */
  readonly lastUpdate?: JsonObject;
  /** Absent: neither an update nor the preflight has measured anything of a pause. */
  readonly estimate?: EstimatedPause;
}

/**
 * The answer to `query-live-update`: the report, why the update would be refused, what is doubtful,
 * and what it would cost.
 */
export type UpdateForecast = Omit<PreflightReport, 'firstLineNs'> & {
  readonly refusals: readonly string[];
  /** What the user should know before: sentences for people. */
  readonly doubts: readonly string[];
  readonly cost: UpdateCost;
};

/** How often the saving is measured. */
const TIMES = 5;

/**
 * Saves what can be saved beside the running guest, and adds up what is known. `lastUpdate` brought
 * this image.
 */
export function updateCost(vm: Vm, prepared: Preparation, lastUpdate: JsonObject | undefined): UpdateCost {
  const { snapshot, snapshotFd, turnMs, preflightMs, startMs } = prepared;
  const measured: MeasuredCost = {
    turnMs: rounded(turnMs),
    preflightMs: rounded(preflightMs),
    snapshot,
    snapshotBytes: snapshotFd === undefined ? 0 : fstatSync(snapshotFd).size,
    ...(startMs === undefined ? {} : { startMs: rounded(startMs) }),
    ...measureSaving(vm),
    dmaRanges: vm.parts.host?.save().container?.ranges.length ?? 0,
  };
  const estimate = estimatePause(measured, lastUpdate);
  return { measured, ...(lastUpdate ? { lastUpdate } : {}), ...(estimate ? { estimate } : {}) };
}

function measureSaving(vm: Vm): Pick<MeasuredCost, 'saveMs' | 'steadyStateBytes'> {
  let [saveMs, steadyStateBytes] = [Number.POSITIVE_INFINITY, 0];
  for (let times = 0; times < TIMES; times++) {
    const begin = monotonicNs();
    steadyStateBytes = encodeState(saveSteady(vm)).length;
    saveMs = Math.min(saveMs, rounded((monotonicNs() - begin) / 1e6));
  }
  return { saveMs, steadyStateBytes };
}

export function estimatePause(
  { startMs, saveMs }: Pick<MeasuredCost, 'startMs' | 'saveMs'>,
  lastUpdate: JsonObject | undefined,
): EstimatedPause | undefined {
  const pauseMs = lastUpdate?.pauseMs;
  if (typeof pauseMs === 'number') return { pauseMs, from: 'last-update', without: [] };
  if (startMs === undefined) return undefined;
  const without = ['stop', 'invalidate', 'map', 'remap', 'load', 'resume'];
  return { pauseMs: rounded(startMs + saveMs), from: 'preflight', without };
}

/** To the microsecond. */
const rounded = (ms: number): number => Math.round(ms * 1e3) / 1e3;
