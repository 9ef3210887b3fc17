/**
 * A guardian's watch. It takes the guest back into the old image when the new one dies or hangs
 * before it has committed. A guardian that stands by takes the guest over whenever the VMM dies.
 */
import { rmSync } from 'node:fs';

import { monotonicNs } from '../../../platform/clock.ts';
import { codeOf, eio } from '../../../platform/errno.ts';
import { Vitals } from '../../crew/vitals.ts';
import { MONITOR_SECTION } from '../../monitor/state.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import type { StateFile } from '../state-file.ts';
import { endProcess } from './end-process.ts';
import { type Remains, rollBack } from './roll-back.ts';
import type { Standby } from './standby.ts';

/** If the host takes longer than this to answer, it stood, and the new image could not go on. */
const HOST_STOOD_MS = 500;
/**
 * A guest that kills each VMM that runs it is taken over so often within so much time, and no more.
 */
const TAKEOVERS = { most: 5, withinNs: 60e9 };

/** How far the VMM is. */
type Stage =
  /** It runs the guest, and another guardian or nobody is there for its death. */
  | 'before'
  /** It runs the guest, and this guardian stands by. */
  | 'standing'
  /** It becomes the new image. */
  | 'booting'
  /** The new image runs the guest, and has not committed. */
  | 'running';

/** Why the guardian must take the guest over. */
interface Cause {
  readonly reason: string;
  readonly stage: Stage;
  /** CLOCK_MONOTONIC ns. */
  readonly seenNs: number;
}

/**
 * Waits until it is dismissed (undefined), or takes the guest over. EIO: it has been taken over too
 * often.
 */
export async function guard(standby: Standby): Promise<Resumed | undefined> {
  const cause = await new Watch(standby).cause();
  if (!cause) return undefined;
  endProcess(standby.pidfd);
  return cause.stage === 'standing' ? takeOver(standby, cause) : takeBack(standby, cause);
}

class Watch {
  readonly #standby: Standby;
  #stage: Stage = 'before';
  #withinMs = Number.POSITIVE_INFINITY;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(standby: Standby) {
    this.#standby = standby;
  }

  async cause(): Promise<Cause | undefined> {
    for (;;) {
      const left = this.#deadline - performance.now();
      const message = await this.#standby.link.next(Number.isFinite(left) ? Math.max(0, left) : undefined);
      const [stage, seenNs] = [this.#stage, monotonicNs()];
      if (message === 'closed') return stage === 'before' ? undefined : { reason: this.#death(), stage, seenNs };
      if (message === 'late') {
        if (!hostStood(this.#standby.image.host)) return { reason: this.#hang(), stage, seenNs };
        this.#within(this.#withinMs);
      } else if (message.kind === 'over') return undefined;
      else if (message.kind === 'more') this.#take(message.fds);
      else if (message.kind === 'news') this.#standby.learn(message.sections);
      else if (message.kind === 'stand') this.#stage = 'standing';
      else if (message.kind === 'watch' || message.kind === 'running') {
        this.#stage = message.kind === 'watch' ? 'booting' : 'running';
        if (message.kind === 'watch') this.#standby.keep(message.kept);
        this.#within(message.withinMs);
      }
    }
  }

  #take(fds: readonly number[]): void {
    try {
      this.#standby.take(fds);
    } catch (error) {
      if (codeOf(error) !== 'EPIPE') throw error; // the VMM died in the midst of it: `closed` follows
    }
  }

  #within(ms: number): void {
    this.#withinMs = ms;
    this.#deadline = performance.now() + ms;
  }

  /** A VMM that ends in good order says so first. */
  #death(): string {
    if (this.#stage === 'booting') return 'the new image died before the guest ran in it';
    if (this.#stage === 'running') return 'the new image died before it had committed';
    return `the VMM, process ${this.#standby.vmm}, died`;
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

/** The guest goes back to the image before the update. */
async function takeBack(standby: Standby, cause: Cause): Promise<Resumed> {
  const hasRun = cause.stage === 'running';
  const { resumed, running, report } = await goOnHere(standby, standby.vitalsFd, { saved: standby.saved(), hasRun });
  const error = `${cause.reason}; process ${process.pid} runs the guest on in the old image`;
  say(standby, error);
  return {
    ...resumed,
    report: report.then((facts) => {
      return { status: 'failed', error, ...facts, rollbackMs: roundedMs(running - cause.seenNs) };
    }),
  };
}

/** The guest goes on from what the dead VMM has published. */
async function takeOver(standby: Standby, cause: Cause): Promise<Resumed> {
  const { news: saved, nowFd } = standby;
  if (!saved || nowFd === undefined) throw eio(`${cause.reason}, and had not said yet what the guest needs`);
  const takeovers = [...standby.takeovers, cause.seenNs].slice(-TAKEOVERS.most);
  if (takeovers.length === TAKEOVERS.most && cause.seenNs - takeovers[0]! < TAKEOVERS.withinNs) {
    removeSocket(saved);
    const seconds = TAKEOVERS.withinNs / 1e9;
    throw eio(`${cause.reason}: the ${TAKEOVERS.most}th death within ${seconds} s. Nobody runs the guest on`);
  }
  const { resumed, running, report } = await goOnHere(standby, nowFd, { saved, hasRun: true });
  const reason = `${cause.reason}; process ${process.pid} runs the guest on`;
  say(standby, reason);
  const { seenNs } = cause;
  return {
    ...resumed,
    told: 'TAKEOVER',
    takeovers,
    report: report.then((facts) => {
      return { reason, ...facts, takeoverMs: roundedMs(running - seenNs), runningNs: running };
    }),
  };
}

/** Nobody will serve the monitor's clients. */
function removeSocket({ sections }: StateFile): void {
  const { socket } = MONITOR_SECTION.decode(sections.get(MONITOR_SECTION.name)!);
  if (socket) rmSync(socket.path, { force: true });
}

interface GoingOn {
  readonly resumed: Omit<Resumed, 'report'>;
  /** The guest's next instruction, CLOCK_MONOTONIC ns. */
  readonly running: number;
  /** Resolves when the guest's threads run it. */
  readonly report: Promise<{ pid: number; generation: number; doubts?: string[] }>;
}

async function goOnHere(standby: Standby, vitalsFd: number, last: Omit<Remains, 'vitals'>): Promise<GoingOn> {
  const { image } = standby;
  const vitals = Vitals.open(vitalsFd);
  const going = await rollBack(image, { ...last, vitals }, (state) => standby.restorables(state));
  vitals.release();
  const { vm, monitor, doubts, update } = image;
  const { generation } = vm.parts;
  const facts = { pid: process.pid, generation, ...(doubts.length > 0 ? { doubts } : {}) };
  const report = settle(going).then(() => facts);
  return { resumed: { vm, monitor, migration: update.migration }, running: going.running, report };
}

function say({ image: { doubts } }: Standby, what: string): void {
  for (const line of [what, ...doubts]) process.stderr.write(`vmm: ${line}\n`);
}
