/**
 * A guardian's watch. It takes the guest back into the old image when the new one dies or hangs
 * before it has committed. A guardian that stands by takes the guest over whenever the VMM dies.
 */
import { rmSync } from 'node:fs';

import { monotonicNs } from '../../../platform/clock.ts';
import { codeOf, eio } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { isEnding } from '../../../platform/libc/other-process.ts';
import { Vitals } from '../../crew/vitals.ts';
import { MONITOR_SECTION } from '../../monitor/state.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { type Restorable, sectionsOf } from '../decoded-state.ts';
import { settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import type { StateFile } from '../state-file.ts';
import { TimeLeft } from '../time-limit.ts';
import { settleLimit } from './bounds.ts';
import { endProcess } from './end-process.ts';
import type { Guardian } from './guardian.ts';
import type { ToStandby } from './protocol.ts';
import { type Remains, rollBack } from './roll-back.ts';
import { Spare } from './spare.ts';
import type { Standby } from './standby.ts';

/** If the host takes longer than this to answer, it stood, and the new image could not go on. */
const HOST_STOOD_MS = 500;
/**
 * A guest that kills each VMM that runs it is taken over so often within so much time, and no more.
 */
const TAKEOVERS = { most: 5, withinNs: 60e9 };

type Behind = Extract<ToStandby, { readonly kind: 'behind' }>;

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
  /** Of a takeover: the vital signs of the process that has died. */
  readonly vitalsFd?: number | undefined;
}

/**
 * Waits until it is dismissed (undefined), or takes the guest over. EIO: it has been taken over too
 * often.
 */
export async function guard(standby: Standby): Promise<Resumed | undefined> {
  const watch = new Watch(standby);
  const cause = await watch.cause();
  if (!cause) {
    await watch.spare.dismiss();
    return undefined;
  }
  endProcess(standby.pidfd);
  return cause.stage === 'standing' ? takeOver(standby, watch, cause) : takeBack(standby, watch, cause);
}

class Watch {
  readonly #standby: Standby;
  readonly spare: Spare;
  /** When guardians have taken the guest over: the latest times, CLOCK_MONOTONIC ns. */
  takeovers: readonly number[] = [];
  /** Whether the new image runs the guest by other vital signs. */
  ranUnseen = false;
  /** Of the VMM that the sender of our words guards. */
  #behind: { readonly pidfd?: number | undefined; readonly vitals?: number | undefined } = {};
  #stage: Stage = 'before';
  #withinMs = Number.POSITIVE_INFINITY;
  /** What is left of it, in ms. */
  #left = (): number => Number.POSITIVE_INFINITY;

  constructor(standby: Standby) {
    this.#standby = standby;
    this.spare = new Spare(standby);
  }

  async cause(): Promise<Cause | undefined> {
    for (;;) {
      const left = this.#left();
      const message = await this.#standby.link.next(Number.isFinite(left) ? Math.max(0, left) : undefined);
      const [stage, seenNs] = [this.#stage, monotonicNs()];
      if (message === 'closed') return this.#ended(seenNs);
      if (message === 'late') {
        if (this.#left() > 0) continue;
        if (!hostStood(this.#standby.image.host)) return { reason: this.#hang(), stage, seenNs };
        this.#within(this.#withinMs);
      } else if (message.kind === 'over') return undefined;
      else if (message.kind === 'more') this.#take(message.fds);
      else if (message.kind === 'news') {
        this.#standby.learn(message.sections);
        this.spare.refresh();
      } else if (message.kind === 'stand') {
        this.#stage = 'standing';
        this.takeovers = message.takeovers;
        this.spare.begin();
      } else if (message.kind === 'behind') this.#stepBehind(message.vmm);
      else if (message.kind === 'watch' || message.kind === 'running') {
        this.#stage = message.kind === 'watch' ? 'booting' : 'running';
        if (message.kind === 'watch') {
          this.#standby.keep(message.kept);
          this.spare.leaveVmm();
        } else this.ranUnseen = !message.watched;
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

  /** While the guest stands, all time counts; while it runs, the new image's own. */
  #within(ms: number): void {
    this.#withinMs = ms;
    const deadline = performance.now() + ms;
    const time = this.#stage === 'running' ? new TimeLeft(this.#standby.vmm, settleLimit(ms)) : undefined;
    this.#left = () => time?.ms ?? deadline - performance.now();
  }

  /** The sender has died. */
  #ended(seenNs: number): Cause | undefined {
    const { vmm, nowFd } = this.#standby;
    if (this.#stage !== 'before') return { reason: this.#death(), stage: this.#stage, seenNs, vitalsFd: nowFd };
    const { pidfd, vitals: vitalsFd } = this.#behind;
    if (pidfd === undefined || !isEnding(pidfd)) return undefined;
    endProcess(pidfd);
    return { reason: `the VMM and its guardian, process ${vmm}, died`, stage: 'standing', seenNs, vitalsFd };
  }

  #stepBehind(vmm: Behind['vmm']): void {
    for (const fd of Object.values(this.#behind)) if (fd !== undefined) close(fd);
    const keep = (fd: number): number | undefined => this.#standby.keepFd(fd);
    this.#behind = vmm ? { pidfd: keep(vmm.pidfd), vitals: keep(vmm.vitals) } : {};
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
async function takeBack(standby: Standby, watch: Watch, cause: Cause): Promise<Resumed> {
  const remains = { saved: standby.saved(), ranUnseen: watch.ranUnseen };
  const { resumed, running, report } = await goOnHere(standby, standby.vitalsFd, remains, watch);
  const error = `${cause.reason}; process ${process.pid} runs the guest on in the old image`;
  say(standby, error);
  return {
    ...resumed,
    takeovers: watch.takeovers,
    report: report.then((facts) => {
      return { status: 'failed', error, ...facts, rollbackMs: roundedMs(running - cause.seenNs) };
    }),
  };
}

/** The guest goes on from what the dead VMM has published. */
async function takeOver(standby: Standby, watch: Watch, cause: Cause): Promise<Resumed> {
  const { news: saved } = standby;
  const { vitalsFd } = cause;
  if (!saved || vitalsFd === undefined) throw eio(`${cause.reason}, and had not said yet what the guest needs`);
  const takeovers = [...watch.takeovers, cause.seenNs].slice(-TAKEOVERS.most);
  if (takeovers.length === TAKEOVERS.most && cause.seenNs - takeovers[0]! < TAKEOVERS.withinNs) {
    removeSocket(saved);
    await watch.spare.dismiss();
    const seconds = TAKEOVERS.withinNs / 1e9;
    throw eio(`${cause.reason}: the ${TAKEOVERS.most}th death within ${seconds} s. Nobody runs the guest on`);
  }
  watch.takeovers = takeovers;
  const remains = { saved, ranUnseen: false };
  const { resumed, running, report } = await goOnHere(standby, vitalsFd, remains, watch);
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

type Last = Omit<Remains, 'vitals'>;

interface GoingOn {
  readonly resumed: Omit<Resumed, 'report'>;
  /** The guest's next instruction, CLOCK_MONOTONIC ns. */
  readonly running: number;
  /** Resolves when the guest's threads run it. */
  readonly report: Promise<{ pid: number; generation: number; doubts?: string[] }>;
}

/** From here on the spare guardian guards this process. */
async function goOnHere(standby: Standby, vitalsFd: number, last: Last, watch: Watch): Promise<GoingOn> {
  const { image } = standby;
  const vitals = Vitals.open(vitalsFd);
  let behind: Guardian | undefined;
  const decode = (state: StateFile): readonly Restorable[] => standby.restorables(state);
  const going = await rollBack(image, { ...last, vitals }, decode, (state) => {
    behind = watch.spare.stand(sectionsOf(state), watch.takeovers);
  });
  vitals.release();
  const { vm, monitor, doubts, update } = image;
  const { generation } = vm.parts;
  const facts = { pid: process.pid, generation, ...(doubts.length > 0 ? { doubts } : {}) };
  const report = settle(going).then(() => facts);
  return { resumed: { vm, monitor, migration: update.migration, behind }, running: going.running, report };
}

function say({ image: { doubts } }: Standby, what: string): void {
  for (const line of [what, ...doubts]) process.stderr.write(`vmm: ${line}\n`);
}
