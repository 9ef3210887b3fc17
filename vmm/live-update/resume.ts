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
import { goOn, handOverMs, restorePhase, settle } from './go-on.ts';
import type { MigrationState } from './migration/state.ts';
import { NewImage } from './new-image.ts';
import { phasesMs, roundedMs } from './phases.ts';
import { commit, type Protector } from './standby/commitment.ts';
import { decodeState, type StateFile } from './state-file.ts';
import { decodeAll, type Phase } from './survivors.ts';
import type { Takeback, UpdateState } from './update-state.ts';

export interface Resumed {
  readonly vm: Vm;
  readonly monitor: MonitorState;
  /** null: an earlier build began the update. */
  readonly migration: MigrationState | null;
  /**
   * The content of the LIVE_UPDATE event. It resolves when the guest's threads have taken over and
   * this image has committed.
   */
  readonly report: Promise<JsonObject>;
  /** Whoever stands by until this image has committed. */
  readonly protector?: Protector | undefined;
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
  const protector = await protectorOf(update);
  protector?.running();
  const { snapshot, turn } = update.fds;
  if (snapshot !== undefined) close(snapshot);
  const report = settle(going).then(async (handOver) => {
    if (turn !== undefined) close(turn); // the next VMM may update
    if (protector)
      await commit(vm, protector, { probationMs: update.guardian!.probationMs, isWatched: image.isWatched });
    return {
      ...pause,
      ...(prepared ? { prepared } : {}),
      ...(takeback ? { takeback: takebackMs(takeback, stamps.begin) } : {}),
      handover: handOverMs(handOver, running),
    };
  });
  return { vm, monitor, migration: update.migration, report, protector };
}

async function protectorOf({ guardian }: UpdateState): Promise<Protector | undefined> {
  if (!guardian) return undefined;
  const { GuardianLink } = await import('./standby/guardian-link.ts');
  return new GuardianLink(guardian);
}

function takebackMs({ atNs, gapNs, longestGapNs }: Takeback, pauseStartNs: number): JsonObject {
  const beforeMs = roundedMs(pauseStartNs - atNs);
  return { beforeMs, gapMs: roundedMs(gapNs), longestGapMs: roundedMs(longestGapNs) };
}

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
