/**
 * A guardian's watch. It takes the guest back into the old image when the new one dies or hangs
 * before it has committed.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { codeOf } from '../../../platform/errno.ts';
import { Vitals } from '../../crew/vitals.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import { endProcess } from './end-process.ts';
import { rollBack } from './roll-back.ts';
import type { Standby } from './standby.ts';

/** If the host takes longer than this to answer, it stood, and the new image could not go on. */
const HOST_STOOD_MS = 500;

/** Why the guardian must take the guest over. */
interface Cause {
  readonly reason: string;
  /** Whether the guest has run in the process that died. */
  readonly hasRun: boolean;
  /** CLOCK_MONOTONIC ns. */
  readonly seenNs: number;
}

/** Waits until it is dismissed (undefined), or takes the guest over. */
export async function guard(standby: Standby): Promise<Resumed | undefined> {
  const cause = await new Watch(standby).cause();
  if (!cause) return undefined;
  endProcess(standby.pidfd);
  return goOnHere(standby, cause);
}

class Watch {
  readonly #standby: Standby;
  #stage: 'before' | 'booting' | 'running' = 'before';
  #withinMs = Number.POSITIVE_INFINITY;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(standby: Standby) {
    this.#standby = standby;
  }

  async cause(): Promise<Cause | undefined> {
    for (;;) {
      const left = this.#deadline - performance.now();
      const message = await this.#standby.link.next(Number.isFinite(left) ? Math.max(0, left) : undefined);
      const seenNs = monotonicNs();
      if (message === 'closed') {
        const reason = this.#death();
        return reason === undefined ? undefined : { reason, hasRun: this.#stage !== 'booting', seenNs };
      }
      if (message === 'late') {
        if (!hostStood(this.#standby.image.host)) {
          return { reason: this.#hang(), hasRun: this.#stage !== 'booting', seenNs };
        }
        this.#within(this.#withinMs);
      } else if (message.kind === 'over') return undefined;
      else if (message.kind === 'more') this.#standby.take(message.fds);
      else if (message.kind === 'watch' || message.kind === 'running') {
        this.#stage = message.kind === 'watch' ? 'booting' : 'running';
        this.#within(message.withinMs);
      }
    }
  }

  #within(ms: number): void {
    this.#withinMs = ms;
    this.#deadline = performance.now() + ms;
  }

  #death(): string | undefined {
    if (this.#stage === 'booting') return 'the new image died before the guest ran in it';
    if (this.#stage === 'running') return 'the new image died before it had committed';
    return undefined; // the VMM ended before the update
  }

  #hang(): string {
    const what = this.#stage === 'booting' ? 'did not run the guest' : 'did not commit';
    return `the new image ${what} within ${this.#withinMs / 1000} s`;
  }
}

/**
 * Asks the host, and waits for its answer. True if the answer took long, as from a stopped host;
 * false if the host is gone.
 */
function hostStood(host: PassthroughHost | undefined): boolean {
  const asked = performance.now();
  try {
    host?.container.checkUpdatable();
  } catch (error) {
    if (codeOf(error) === 'EPIPE') return false;
    throw error;
  }
  return performance.now() - asked > HOST_STOOD_MS;
}

async function goOnHere(standby: Standby, { reason, hasRun, seenNs }: Cause): Promise<Resumed> {
  const { image } = standby;
  const vitals = Vitals.open(standby.vitalsFd);
  const remains = { saved: standby.saved(), vitals, hasRun };
  const going = await rollBack(image, remains, (state) => standby.restorables(state));
  vitals.release();
  const { vm, monitor, doubts } = image;
  const error = `${reason}; process ${process.pid} runs the guest on in the old image`;
  for (const line of [error, ...doubts]) process.stderr.write(`vmm: ${line}\n`);
  const report = settle(going).then(() => ({
    status: 'failed',
    error,
    pid: process.pid,
    generation: vm.parts.generation,
    rollbackMs: roundedMs(going.running - seenNs),
    ...(doubts.length > 0 ? { doubts } : {}),
  }));
  return { vm, monitor, migration: image.update.migration, report };
}
