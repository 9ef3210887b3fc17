/** A successor's wait: it takes the guest over when the VMM that runs it says so. */
import { monotonicNs } from '../../../platform/clock.ts';
import { codeOf } from '../../../platform/errno.ts';
import { goOn, restoreAll, settle } from '../go-on.ts';
import type { NewImage } from '../new-image.ts';
import { transferPhasesMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import { handOverMs, pauseReport } from '../update-report.ts';
import { commit, type Protector, type Relief } from './commitment.ts';
import type { ToStandby } from './protocol.ts';
import type { Standby, StandbyLink } from './standby.ts';

/** The old image ends within this time; nobody waits longer for it. */
const ENDING_MS = 5000;
/** The old image has told its clients long before this time. */
const LEFT_MS = 1000;
/** From `soon` to `go` it takes some ms; after this time the event loop waits for it. */
const SOON_MS = 50;
/** How a word to a process that has died fails. */
const DEAD: readonly string[] = ['EPROTO', 'EPIPE', 'ECONNRESET'];

/** Waits until it is told to take the guest over, or is dismissed (undefined). */
export async function succeed(standby: Standby): Promise<Resumed | undefined> {
  const next = async (now: boolean): Promise<ToStandby | 'closed' | 'late'> =>
    (now ? standby.link.nextNow(SOON_MS) : undefined) ?? (await standby.link.next());
  let soon = false;
  for (;;) {
    const message = await next(soon);
    if (message === 'closed' || message === 'late' || message.kind === 'over') return undefined;
    soon = message.kind === 'soon' || (soon && message.kind === 'more'); // which comes in the pause
    if (message.kind === 'soon') {
      standby.warm(message.sections);
      standby.link.sendNow({ kind: 'warm' });
    }
    if (message.kind === 'more') standby.take(message.fds);
    if (message.kind === 'go') return takeOver(standby);
  }
}

/** The image that ran the guest before; it takes the guest back if this one dies. */
class OldImage implements Protector {
  readonly #link: StandbyLink;
  standing = true;
  relief?: Relief;

  constructor(link: StandbyLink) {
    this.#link = link;
  }

  running({ isWatched }: NewImage): void {
    this.#link.send({ kind: 'running', watched: isWatched });
  }

  async committed(): Promise<void> {
    this.over();
    await this.#link.next(ENDING_MS); // it ends, and with it the link
    this.#link.close();
  }

  over(): void {
    this.standing = false;
    try {
      this.#link.sendNow({ kind: 'committed' });
    } catch (error) {
      // it has died, and will not take the guest back
      if (!DEAD.includes(codeOf(error) ?? '')) throw error;
    }
    this.relief?.stand();
  }
}

async function takeOver(standby: Standby): Promise<Resumed> {
  const { image, link, crew } = standby;
  const received = monotonicNs();
  const state = standby.saved();
  restoreAll(image, standby.restorables(state), { prepared: true });
  const going = await goOn(image);
  const { loaded, running } = going;
  const { vm, monitor, update } = image;
  const fresh = { complete: state.completeNs, received, loaded, running };
  const pause = pauseReport(image, running, transferPhasesMs(update.stamps, fresh));
  const protector = new OldImage(link);
  protector.running(image);
  const report = settle(going, crew).then(async (handOver) => {
    await commit(image, protector, standby.probationMs);
    return { ...pause, mode: 'transfer', handover: handOverMs(handOver, running) };
  });
  await link.next(LEFT_MS); // `left`, or the old image is dead
  return { vm, monitor, migration: update.migration, report, protector };
}
