/**
 * An exec update, the new image's side (docs/DESIGN.md, "Three lifetimes"): find the state → map
 * RAM → update vaddrs → each owner loads its section → main runs the guest → its threads take over
 * (hand-over.ts). There is no way back from here: an error ends the process, and its message names
 * the section. Code that the guest's next instruction does not need is loaded after it.
 */
import { fstatSync, readSync } from 'node:fs';
import { monotonicNs } from '../../platform/clock.ts';
import { hex } from '../../platform/hex.ts';
import { close } from '../../platform/libc/fd.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { MonitorState } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { goOn, restorePhase, settle } from './go-on.ts';
import type { HandOver } from './hand-over.ts';
import type { MigrationState } from './migration/state.ts';
import { NewImage } from './new-image.ts';
import { phasesMs } from './phases.ts';

import { decodeState, type StateFile } from './state-file.ts';
import { decodeAll, type Phase } from './survivors.ts';
import type { Takeback } from './update-state.ts';

export interface Resumed {
  readonly vm: Vm;
  readonly monitor: MonitorState;
  /** null: an earlier build began the update. */
  readonly migration: MigrationState | null;
  /** The content of the LIVE_UPDATE event. It resolves when the guest's threads have taken over. */
  readonly report: Promise<JsonObject>;
}

/**
 * Takes the guest over from the image before. The guest runs when this returns. EINVAL names the
 * section that cannot be loaded.
 */
export async function takeOver(stateFd: number, firstLine: number): Promise<Resumed> {
  const state = readState(stateFd);
  const restorables = decodeAll(state);
  const image = new NewImage();
  const restoredAt = (phase: Phase): number => restorePhase(image, restorables, phase, { prepared: false });
  const mapped = restoredAt('map');
  const remapped = restoredAt('remap');
  restoredAt('load');
  const { vm, monitor, update, vaddrOld } = image;
  const going = await goOn(image);
  const { loaded, running } = going;

  const { stamps, takeback, prepared } = update;
  const { execNs: execve } = state;
  const fresh = { execve, nodeStart: nodeStartNs(), firstLine, mapped, remapped, loaded, running };
  const pause = {
    status: 'completed',
    generation: vm.parts.generation,
    pid: process.pid,
    vaddrOld: hex(vaddrOld),
    vaddrNew: hex(vm.parts.ram.vaddr),
    pauseMs: roundedMs(running - stamps.begin),
    phasesMs: { ...phasesMs(stamps, fresh) },
    pauseStartNs: stamps.begin,
    pauseEndNs: running,
  };
  const { snapshot, turn } = update.fds;
  if (snapshot !== undefined) close(snapshot);
  const report = settle(going).then((handOver) => {
    if (turn !== undefined) close(turn); // the next VMM may update
    return {
      ...pause,
      ...(prepared ? { prepared } : {}),
      ...(takeback ? { takeback: takebackMs(takeback, stamps.begin) } : {}),
      handover: handOverMs(handOver, running),
    };
  });
  return { vm, monitor, migration: update.migration, report };
}

const handOverMs = ({ lastNs, firstNs, longestGapNs }: HandOver, running: number): JsonObject => ({
  afterMs: roundedMs(lastNs - running),
  gapMs: roundedMs(firstNs - lastNs),
  longestGapMs: roundedMs(longestGapNs),
});

function takebackMs({ atNs, gapNs, longestGapNs }: Takeback, pauseStartNs: number): JsonObject {
  const beforeMs = roundedMs(pauseStartNs - atNs);
  return { beforeMs, gapMs: roundedMs(gapNs), longestGapMs: roundedMs(longestGapNs) };
}

const roundedMs = (ns: number): number => Math.round(ns / 1e3) / 1e3;

/**
 * CLOCK_MONOTONIC when Node began in this image. It is performance's origin, from the quickest of
 * five readings.
 */
function nodeStartNs(): number {
  let best = { took: Number.POSITIVE_INFINITY, start: 0 };
  for (let i = 0; i < 5; i++) {
    const before = monotonicNs();
    const sinceStart = performance.now() * 1e6;
    const took = monotonicNs() - before;
    if (took < best.took) best = { took, start: before - sinceStart };
  }
  return best.start;
}

function readState(fd: number): StateFile {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  close(fd);
  return decodeState(bytes);
}
