/**
 * A shard: one host, its clients, and a killer that kills and freezes clients. A shard runs in
 * rounds. At the end of each round every client ends or is killed, and the host must have released
 * everything. The first broken invariant ends the shard.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { Child, describeEnding } from '../launch/child.ts';
import { HostProcess } from '../launch/host.ts';
import { programArgv } from '../launch/programs.ts';
import { ActorProcess, type Member } from './actor-process.ts';
import { ACTORS, type ActorName, AUDITOR, assign, devicesOf, hostOptionsOf, PARTNERS } from './cast.ts';
import { KEXEC_DEFECTS } from './defects.ts';
import { PHASE } from './event-log.ts';
import type { Invariant } from './invariants.ts';
import { addUp, type Failure, NOTHING_DONE, type ShardOutcome, type ShardPlan, type Totals } from './outcome.ts';
import { Random } from './random.ts';

const TICK_MS = 20;
/**
 * How long a client may give no sign of life before it counts as hung. The time is long, because
 * the machine may be busy.
 */
const PATIENCE_MS = 30_000;
const SHORTEST_ROUND_MS = 3000;
const LONGEST_ROUND_MS = 9000;
/** Mean time between two interferences of the killer. */
const MEAN_PEACE_MS = 1500;
const LONGEST_FREEZE_MS = 200;
const LONGEST_GAP_MS = 100;
/** When the defect 'kill-host' happens, after the start. */
const KILL_HOST_MS = 1000;
const EVENTS_OF_EACH = 24;
const MOST_NOTES = 20;

/**
 * What a client says whose kernel has gone down. The last is said by the next kernel, to a client
 * that was in the middle of an exec.
 */
const KERNEL_IS_AWAY = /the host is gone|hung up|EPIPE|ECONNREFUSED|ECONNRESET|ENOENT|is no file of this host/;

const isExec = (phase: number): boolean => phase === PHASE.executing || phase === PHASE.guarded;

export interface ShardOptions {
  /** Ends the shard early. */
  readonly signal: AbortSignal;
  readonly onProgress: (totals: Totals) => void;
}

export class Shard {
  readonly #plan: ShardPlan;
  readonly #options: ShardOptions;
  readonly #killer: Random;
  readonly #actors: ReadonlyMap<ActorName, ActorProcess>;
  readonly #auditor: ActorProcess;
  /** Aborted by the first failure, or by the pool. */
  readonly #over = new AbortController();
  readonly #notes: string[] = [];
  #host: HostProcess | undefined;
  /** Whether the host may end. */
  #isStopping = false;
  #failure: Failure | undefined;
  /** The kernel goes down: clients may complain that it is away. */
  #kernelEnds = false;
  #rounds = 0;
  #kills = 0;
  #freezes = 0;
  #kernels = 0;
  #final: Totals = NOTHING_DONE;

  constructor(plan: ShardPlan, options: ShardOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#killer = Random.of(plan.seed, 'killer');
    const handlers = {
      complained: ({ invariant, actor, message }: { invariant: Invariant; actor: string; message: string }) => {
        if (!this.#kernelEnds || !KERNEL_IS_AWAY.test(message)) this.#fail(invariant, actor, message);
      },
      spoke: (actor: string, line: string) => this.#heard(actor, line),
      ended: (member: Member, how: string) => this.#endedUnasked(member, how),
    };
    this.#actors = new Map(ACTORS.map((name) => [name, new ActorProcess(name, PARTNERS[name], handlers)]));
    this.#auditor = new ActorProcess(AUDITOR, undefined, handlers);
    options.signal.addEventListener('abort', () => this.#over.abort());
  }

  async run(): Promise<ShardOutcome> {
    try {
      this.#over.signal.throwIfAborted();
      const { profile } = this.#plan;
      this.#host = await HostProcess.start(devicesOf(profile), hostOptionsOf(this.#plan), (line) =>
        this.#fail('6', 'host', `the host says: ${line}`),
      );
      void this.#host.child.closed.then((ending) => {
        if (!this.#isStopping) this.#fail('6', 'host', `the host has ended with ${describeEnding(ending)}`);
      });
      if (this.#options.signal.aborted) this.#over.abort();
      if (this.#plan.inject === 'kill-host') setTimeout(() => this.#host?.child.kill('SIGKILL'), KILL_HOST_MS).unref();
      await this.#enterStage();
      const endNs = monotonicNs() + this.#plan.seconds * 1e9;
      for (;;) {
        await this.#round(endNs);
        if (monotonicNs() >= endNs) break;
        await this.#enterStage();
      }
    } catch (error) {
      if (!this.#over.signal.aborted) throw error;
    } finally {
      await this.#stop();
    }
    const { seed } = this.#plan;
    return { seed, totals: this.#final, ...(this.#failure ? { failure: this.#failure } : {}) };
  }

  async #stop(): Promise<void> {
    const all = this.#everybody();
    for (const actor of all) actor.killAll();
    await Promise.all(all.map(({ closed }) => closed));
    this.#isStopping = true;
    const ending = await this.#host?.stop(PATIENCE_MS);
    if (this.#host && !this.#over.signal.aborted && ending?.status !== 0) {
      const how = ending ? `ended with ${describeEnding(ending)}` : 'does not end when told to';
      this.#fail('6', 'host', `the host ${how}`);
    }
    this.#final = this.#totals();
    for (const actor of all) actor.close();
  }

  #everybody(): ActorProcess[] {
    return [this.#auditor, ...this.#actors.values()];
  }

  #members(): Member[] {
    return this.#everybody().flatMap(({ members }) => members);
  }

  /** Starts all clients, and waits until they are at work. */
  async #enterStage(): Promise<void> {
    this.#start(AUDITOR, this.#auditor);
    await this.#untilStarted([this.#auditor]); // the auditor sets the host's parameters
    for (const [name, actor] of this.#actors) this.#start(name, actor);
    await this.#untilStarted([...this.#actors.values()]);
  }

  async #untilStarted(actors: readonly ActorProcess[]): Promise<void> {
    const members = actors.flatMap((actor) => actor.members);
    while (members.some(({ log }) => log.phase() === PHASE.starting)) await this.#tick();
  }

  async #round(endNs: number): Promise<void> {
    const random = this.#killer;
    const roundEndNs = Math.min(endNs, monotonicNs() + random.between(SHORTEST_ROUND_MS, LONGEST_ROUND_MS) * 1e6);
    while (monotonicNs() < roundEndNs) {
      const peaceNs = -Math.log(1 - random.next() / 2 ** 32) * MEAN_PEACE_MS * 1e6;
      const untilNs = Math.min(roundEndNs, monotonicNs() + peaceNs);
      while (monotonicNs() < untilNs) await this.#tick();
      if (monotonicNs() < roundEndNs) await this.#interfere();
    }
    for (const actor of this.#actors.values()) {
      if (random.chance(0.7)) actor.requestStop();
      else void this.#kill(actor);
    }
    await this.#untilClosed([...this.#actors.values()]);
    this.#auditor.requestStop();
    await this.#untilClosed([this.#auditor]);
    this.#rounds++;
  }

  #start(name: ActorName | typeof AUDITOR, actor: ActorProcess): void {
    actor.start(assign(name, actor.incarnations, this.#host!, this.#plan));
  }

  /** Lets time pass, and checks that every client is alive. Throws when the shard is over. */
  async #tick(): Promise<void> {
    await sleep(TICK_MS, undefined, { signal: this.#over.signal });
    this.#options.onProgress(this.#totals());
    const nowNs = monotonicNs();
    for (const actor of this.#everybody()) {
      if (!actor.running) continue;
      for (const { name, log } of actor.members) {
        const phase = log.phase();
        const silentMs = (nowNs - log.beatNs()) / 1e6;
        if (silentMs < PATIENCE_MS || phase === PHASE.ended) continue;
        const text = `no sign of life for ${Math.round(silentMs / 1000)} s`;
        if (isExec(phase)) this.#fail('5', name, `${text} since its exec`);
        else this.#fail('6', name, `${text}: ${log.events(1)[0]?.text ?? 'it has not started'}`);
      }
    }
    this.#over.signal.throwIfAborted();
  }

  async #untilClosed(actors: readonly ActorProcess[]): Promise<void> {
    while (actors.some(({ running }) => running)) await this.#tick();
  }

  /** Freezes or kills one of the actors, or replaces the kernel under all of them. */
  async #interfere(): Promise<void> {
    const random = this.#killer;
    const { inject } = this.#plan;
    const kexecs = inject === undefined ? this.#kernels === 0 || random.chance(0.25) : KEXEC_DEFECTS.includes(inject);
    if (kexecs) return this.#kexec();
    const [name, actor] = random.pick([...this.#actors])!;
    if (random.chance(0.3)) {
      this.#freezes++;
      actor.freeze();
      try {
        await sleep(random.below(LONGEST_FREEZE_MS), undefined, { signal: this.#over.signal });
      } finally {
        actor.thaw();
      }
      return;
    }
    await this.#kill(actor);
    this.#over.signal.throwIfAborted();
    this.#start(name, actor);
    await this.#untilStarted([actor]);
  }

  /**
   * Replaces the host's kernel while clients are at work. It is the end of all of them, as of all
   * processes on Linux. The next keeper finds what the one before had.
   */
  async #kexec(): Promise<void> {
    const keeper = this.#actors.get('keeper')!;
    if (this.#plan.inject !== undefined || this.#killer.chance(0.5)) {
      keeper.requestPark();
      while (keeper.members[0]!.log.phase() !== PHASE.parked) await this.#tick();
    }
    const all = this.#everybody();
    this.#kernelEnds = true;
    try {
      for (const actor of all) actor.expectKernelEnd();
      await this.#nextKernel();
      for (const actor of all) actor.killAll();
      await Promise.all(all.map(({ closed }) => closed));
    } finally {
      this.#kernelEnds = false;
    }
    this.#over.signal.throwIfAborted();
    await this.#enterStage();
  }

  async #nextKernel(): Promise<void> {
    const argv = programArgv('livevmm', 'kexec', '--host', this.#host!.socket);
    const child = new Child({ name: 'kexec', argv, stdio: ['ignore', 'ignore', 'pipe'] });
    child.onLine('stderr', (line) => this.#fail('6', 'kexec', line));
    const ending = await child.closed;
    this.#kernels++;
    if (ending.status !== 0) this.#fail('6', 'kexec', `ended with ${describeEnding(ending)}`);
  }

  #kill(actor: ActorProcess): Promise<void> {
    this.#kills++;
    const gapMs = actor.members.length > 1 ? this.#killer.below(LONGEST_GAP_MS) : 0;
    return actor.kill(this.#killer.pick(actor.members), gapMs);
  }

  #heard(actor: string, line: string): void {
    this.#fail('client', actor, line); // the first line; later ones become notes
  }

  #endedUnasked(member: Member, how: string): void {
    if (isExec(member.log.phase())) {
      this.#fail('5', member.name, `ended with ${how} in the middle of an exec`);
    } else {
      this.#fail('client', member.name, `ended with ${how}`);
    }
  }

  #fail(invariant: Invariant, actor: string, message: string): void {
    if (this.#over.signal.aborted) {
      if (this.#failure && this.#notes.length < MOST_NOTES) this.#notes.push(`${actor}: ${message}`);
      return;
    }
    const events = this.#members()
      .flatMap(({ name, log }) => log.events(EVENTS_OF_EACH).map((event) => ({ ...event, actor: name })))
      .sort((a, b) => a.atNs - b.atNs);
    this.#failure = { invariant, actor, message, atNs: monotonicNs(), notes: this.#notes, events };
    this.#over.abort();
  }

  #totals(): Totals {
    const own = {
      ...NOTHING_DONE,
      rounds: this.#rounds,
      kills: this.#kills,
      freezes: this.#freezes,
      kernels: this.#kernels,
    };
    return addUp([own, ...this.#members().map(({ log }) => ({ ...NOTHING_DONE, ...log.counts() }))]);
  }
}
