/**
 * A guardian's watch. It takes the guest back into the old image when the new one dies or hangs
 * before it has committed. A guardian that is `always` there does so whenever the VMM dies.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { Vitals } from '../../crew/vitals.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { goOn, restorePhase, settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import { endProcess } from './end-process.ts';
import { lastState } from './last-state.ts';
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
  return takeBack(standby, cause);
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
    // a VMM that ends in good order says so first
    return this.#standby.always ? 'the VMM died' : undefined;
  }

  #hang(): string {
    const what = this.#stage === 'booting' ? 'did not run the guest' : 'did not commit';
    return `the new image ${what} within ${this.#withinMs / 1000} s`;
  }
}

/**
 * Asks the host, and waits for its answer. True if the answer took long, as from a stopped host.
 */
function hostStood(host: PassthroughHost | undefined): boolean {
  const asked = performance.now();
  host?.container.checkUpdatable();
  return performance.now() - asked > HOST_STOOD_MS;
}

async function takeBack(standby: Standby, { reason, hasRun, seenNs }: Cause): Promise<Resumed> {
  const { image } = standby;
  const vitals = Vitals.open(standby.vitalsFd);
  const { state, reset, doubts } = lastState(standby.saved(), vitals, image.ram.mapping.buffer, hasRun);
  image.doubts.push(...doubts);
  const restorables = standby.restorables(state);
  for (const phase of ['map', 'remap', 'load'] as const) restorePhase(image, restorables, phase, { prepared: true });
  vitals.release();
  const going = await goOn(image, { reset });
  const { vm, monitor } = image;
  const error = `${reason}; process ${process.pid} runs the guest on in the old image`;
  for (const line of [error, ...image.doubts]) process.stderr.write(`vmm: ${line}\n`);
  const report = settle(going).then(() => ({
    status: 'failed',
    error,
    pid: process.pid,
    generation: vm.parts.generation,
    rollbackMs: roundedMs(going.running - seenNs),
    ...(image.doubts.length > 0 ? { doubts: image.doubts } : {}),
  }));
  return { vm, monitor, migration: image.update.migration, report };
}
