/** The content of LIVE_UPDATE events, as the image tells it that has the guest then. */
import { hex } from '../../platform/hex.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { HandOver } from './hand-over.ts';
import type { NewImage } from './new-image.ts';
import { roundedMs } from './phases.ts';
import type { Takeback } from './update-state.ts';

/** The pause of an update that has completed; `running` is its end, CLOCK_MONOTONIC ns. */
export function pauseReport(
  { vm, update, vaddrOld }: NewImage,
  running: number,
  phasesMs: Readonly<Record<string, number>>,
): JsonObject {
  const { begin } = update.stamps;
  return {
    status: 'completed',
    generation: vm.parts.generation,
    pid: process.pid,
    vaddrOld: hex(vaddrOld),
    vaddrNew: hex(vm.parts.ram.vaddr),
    pauseMs: roundedMs(running - begin),
    phasesMs: { ...phasesMs },
    pauseStartNs: begin,
    pauseEndNs: running,
  };
}

/** What the take-back cost, in ms; the pause began at `pauseStartNs`. */
export function takebackMs({ atNs, gapNs, longestGapNs }: Takeback, pauseStartNs: number): JsonObject {
  const beforeMs = roundedMs(pauseStartNs - atNs);
  return { beforeMs, gapMs: roundedMs(gapNs), longestGapMs: roundedMs(longestGapNs) };
}

/** What the hand-over cost, in ms; main ran the guest from `running` on. */
export const handOverMs = ({ lastNs, firstNs, longestGapNs }: HandOver, running: number): JsonObject => ({
  afterMs: roundedMs(lastNs - running),
  gapMs: roundedMs(firstNs - lastNs),
  longestGapMs: roundedMs(longestGapNs),
});
