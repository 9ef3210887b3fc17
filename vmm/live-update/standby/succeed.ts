/** A successor's wait: it takes the guest over when the VMM that runs it says so. */
import { monotonicNs } from '../../../platform/clock.ts';
import { hex } from '../../../platform/hex.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import { goOn, handOverMs, restorePhase, settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import type { Phase } from '../survivors.ts';
import { commit, type Protector } from './commitment.ts';
import type { Standby, StandbyLink } from './standby.ts';

/** The old image ends within this time; nobody waits longer for it. */
const ENDING_MS = 5000;

/** Waits until it is told to take the guest over, or is dismissed (undefined). */
export async function succeed(standby: Standby): Promise<Resumed | undefined> {
  for (;;) {
    const message = await standby.link.next();
    if (message === 'closed' || message === 'late' || message.kind === 'over') return undefined;
    if (message.kind === 'more') standby.take(message.fds);
    if (message.kind === 'go') return takeOver(standby, message.ns);
  }
}

/** The image that ran the guest before; it takes the guest back if this one dies. */
class OldImage implements Protector {
  readonly #link: StandbyLink;
  standing = true;

  constructor(link: StandbyLink) {
    this.#link = link;
  }

  running(): void {
    this.#link.send({ kind: 'running' });
  }

  async committed(): Promise<void> {
    this.over();
    await this.#link.next(ENDING_MS); // it ends, and with it the link
    this.#link.close();
  }

  over(): void {
    this.standing = false;
    this.#link.sendNow({ kind: 'committed' });
  }
}

async function takeOver(standby: Standby, sentNs: number): Promise<Resumed> {
  const { image, link } = standby;
  const received = monotonicNs();
  const restorables = standby.restorables(standby.saved());
  const restoredAt = (phase: Phase): number => restorePhase(image, restorables, phase, { prepared: true });
  const mapped = restoredAt('map');
  const remapped = restoredAt('remap');
  restoredAt('load');
  const going = await goOn(image);
  const { loaded, running } = going;
  const { vm, monitor, update, vaddrOld } = image;
  const { stamps } = update;
  const ms = (from: number, to: number): number => roundedMs(Math.max(0, to - from));
  const pause: JsonObject = {
    status: 'completed',
    mode: 'transfer',
    generation: vm.parts.generation,
    pid: process.pid,
    vaddrOld: hex(vaddrOld),
    vaddrNew: hex(vm.parts.ram.vaddr),
    pauseMs: roundedMs(running - stamps.begin),
    phasesMs: {
      stop: ms(stamps.begin, stamps.stop),
      invalidate: ms(stamps.stop, stamps.invalidate),
      save: ms(stamps.invalidate, sentNs),
      transfer: ms(sentNs, received),
      map: ms(received, mapped),
      remap: ms(mapped, remapped),
      load: ms(remapped, loaded),
      resume: ms(loaded, running),
    },
    pauseStartNs: stamps.begin,
    pauseEndNs: running,
  };
  const protector = new OldImage(link);
  protector.running();
  const report = settle(going).then(async (handOver) => {
    await commit(vm, protector, { probationMs: standby.probationMs, isWatched: image.isWatched });
    return { ...pause, handover: handOverMs(handOver, running) };
  });
  return { vm, monitor, migration: image.update.migration, report, protector };
}
