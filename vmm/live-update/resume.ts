/**
 * An exec update, the new image's side (docs/DESIGN.md, "Three lifetimes"): find the state → map
 * RAM → update vaddrs → each owner loads its section → main runs the guest → its threads take over
 * (hand-over.ts) → commit. An error ends the process, and its message names the section; a guardian
 * then takes the guest back (standby/guard.ts). Code that the guest's next instruction does not
 * need is loaded after it.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { close } from '../../platform/libc/fd.ts';
import { readWhole } from '../../platform/whole-file.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { MonitorState } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { decodeAll } from './decoded-state.ts';
import { goOn, restoreAll, settle } from './go-on.ts';
import type { MigrationState } from './migration/state.ts';
import { NewImage } from './new-image.ts';
import { phasesMs } from './phases.ts';
import { commit, type Protector } from './standby/commitment.ts';
import type { Guardian } from './standby/guardian.ts';
import { decodeState, type StateFile } from './state-file.ts';
import { handOverMs, pauseReport, takebackMs } from './update-report.ts';
import type { UpdateState } from './update-state.ts';

export interface Resumed {
  readonly vm: Vm;
  readonly monitor: MonitorState;
  /** null: an earlier build began the update. */
  readonly migration: MigrationState | null;
  /**
   * The content of the event `told`. It resolves when the guest's threads have taken over and
   * this image has committed.
   */
  readonly report: Promise<JsonObject>;
  /** LIVE_UPDATE if absent. */
  readonly told?: 'TAKEOVER';
  /** When standing guardians have taken this guest over: the latest times, CLOCK_MONOTONIC ns. */
  readonly takeovers?: readonly number[];
  /** Who stands by from the beginning. */
  readonly behind?: Guardian | undefined;
  /** Whoever stands by until this image has committed. */
  readonly protector?: Protector | undefined;
}

/**
 * Takes the guest over from the image before. The guest runs when this returns. EINVAL names the
 * section that cannot be loaded.
 */
export async function takeOver(stateFd: number, firstLine: number): Promise<Resumed> {
  const state = readState(stateFd);
  const image = new NewImage();
  const { map: mapped, remap: remapped } = restoreAll(image, decodeAll(state), { prepared: false });
  const { vm, monitor, update } = image;
  const going = await goOn(image);
  const { loaded, running } = going;

  const { stamps, takeback, prepared, fds, guardian } = update;
  const { completeNs: complete } = state;
  const fresh = { complete, nodeStart: nodeStartNs(), firstLine, mapped, remapped, loaded, running };
  const pause = pauseReport(image, running, phasesMs(stamps, fresh));
  const protector = await protectorOf(update);
  protector?.running(image);
  const { snapshot, turn } = fds;
  if (snapshot !== undefined) close(snapshot);
  const report = settle(going).then(async (handOver) => {
    if (turn !== undefined) close(turn); // the next VMM may update
    if (protector) await commit(image, protector, guardian!.probationMs);
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
  const bytes = readWhole(fd);
  close(fd);
  return decodeState(bytes);
}
