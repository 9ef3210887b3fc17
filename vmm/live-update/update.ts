/**
 * An exec update, the old image's side (docs/DESIGN.md, "Three lifetimes"): take the guest back
 * from its threads → stop → invalidate vaddrs → save → execve. There is a way back until the execve
 * succeeds: vaddrs become valid again, fds close-on-exec again, new threads run the guest on, and
 * the error is reported.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

import { monotonicNs } from '../../platform/clock.ts';
import { ebusy, ecanceled, einval, enoent } from '../../platform/errno.ts';
import { close, getCloexec, setCloexec } from '../../platform/libc/fd.ts';
import { pwrite } from '../../platform/libc/file-bytes.ts';
import { memfdCreate } from '../../platform/libc/memfd.ts';
import { execve } from '../../platform/libc/this-process.ts';
import type { Suspended } from '../crew/vcpu/protocol.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { handOver } from './hand-over.ts';
import type { Migration } from './migration/migration.ts';
import { fromSnapshot, nodeOptions } from './node-options.ts';
import type { PhaseStamps } from './phases.ts';
import { refusals, type UpdateForecast } from './preflight-report.ts';
import { type Preparation, prepare, release } from './preparation.ts';
import { type Form, formOf } from './releases.ts';
import { EXEC_NS_OFFSET, encodeState } from './state-file.ts';
import { successorEnv } from './successor-env.ts';
import { saveAll, saveSteady } from './survivors.ts';
import { type TakenBack, takeBack } from './take-back.ts';
import { UPDATE_SECTION } from './update-state.ts';
import { writeAll } from './write-all.ts';

export interface UpdateTarget {
  /** Folder of another built version. */
  readonly to?: string;
  /** Another node binary. */
  readonly node?: string;
  /** Sections that may be lost if the successor does not know them. */
  readonly allowLoss?: readonly string[];
  /** The release in whose form the state is written; by default the form is this build's own. */
  readonly as?: string;
}

export interface UpdatePlan {
  readonly node: string;
  readonly entry: string;
  readonly allowLoss: readonly string[];
  readonly form: Form;
}

/** 20 dry runs (5 ms) make V8 compile the save path: that saves 2 ms of the pause. */
const REHEARSALS = 20;

/** The answer to a client whose command is still executing, a hash of much memory for example. */
const REPLACED = 'the VMM is being replaced by an update; ask the new one';

interface PreparedPlan extends UpdatePlan {
  readonly prepared: Preparation;
  /** Sections that the successor does not know. They are not handed over. */
  readonly lost: readonly string[];
  readonly taken: TakenBack;
}

export interface LiveUpdateOptions {
  readonly vm: Vm;
  monitor(): Monitor | undefined;
  /**
   * Resolves when this image has begun. If an update brought it here, that update is then complete.
   */
  begun(): Promise<void> | undefined;
  /** Is told of the course of every update. */
  readonly migration: Migration;
}

export class LiveUpdate {
  readonly #vm: Vm;
  readonly #monitor: () => Monitor | undefined;
  readonly #begun: () => Promise<void> | undefined;
  readonly #migration: Migration;
  #running = false;
  /** Of the update that is under way. */
  #cancelled = new AbortController();

  constructor({ vm, monitor, begun, migration }: LiveUpdateOptions) {
    this.#migration = migration;
    this.#vm = vm;
    this.#monitor = monitor;
    this.#begun = begun;
  }

  /**
   * Plans an update and checks what can be known before the guest is stopped. ENOENT: the
   * successor's files do not exist. EOPNOTSUPP: DMA would not go on (CPR-1). EINVAL: `as` is no
   * release. EBUSY.
   */
  #plan({ to, node = process.execPath, allowLoss = [], as }: UpdateTarget): UpdatePlan {
    const self = process.argv[1]!;
    const entry = to === undefined ? self : join(resolve(to), basename(self));
    for (const path of [node, entry]) if (!existsSync(path)) throw enoent(`${path}: no such file`);
    this.#vm.parts.host?.container.checkUpdatable();
    return { node, entry, allowLoss, form: as === undefined ? {} : formOf(as) };
  }

  /**
   * Asks the successor what an update would do, and does nothing. While it does, no update can
   * begin. EINVAL: the successor does not answer. EBUSY; errors of #plan.
   */
  async query(target: UpdateTarget): Promise<UpdateForecast> {
    const plan = this.#reserve(target);
    try {
      const prepared = await prepare(this.#vm, plan);
      release(prepared);
      const { report } = prepared;
      return { ...report, refusals: refusals(report, plan.allowLoss) };
    } finally {
      this.#running = false;
    }
  }

  /**
   * Begins an update: from here on no other one can begin. The function that is returned replaces
   * the process. It resolves only if that failed; the guest then runs as before and LIVE_UPDATE
   * says why. EBUSY; errors of #plan.
   */
  begin(target: UpdateTarget): () => Promise<void> {
    const plan = this.#reserve(target);
    this.#cancelled = new AbortController();
    this.#migration.begin();
    return () => this.#run(plan);
  }

  /** Ends an update that is under way, if the guest has not been stopped for it yet. */
  cancel(): void {
    const { status } = this.#migration.course ?? {};
    if (status !== 'setup' && status !== 'active') return;
    this.#migration.cancelling();
    this.#cancelled.abort(ecanceled('the update was cancelled'));
  }

  /** The plan; until #running is false again there is no other one. EBUSY; errors of #plan. */
  #reserve(target: UpdateTarget): UpdatePlan {
    if (this.#running) throw ebusy('an update is under way');
    const plan = this.#plan(target);
    this.#running = true;
    return plan;
  }

  async #run(plan: UpdatePlan): Promise<void> {
    const monitor = this.#monitor();
    try {
      await this.#begun();
      monitor?.emit('LIVE_UPDATE', { status: 'started' });
      await this.#attempt(plan, monitor);
    } catch (error) {
      const { aborted, reason } = this.#cancelled.signal;
      const { message } = (aborted ? reason : error) as Error;
      this.#running = false;
      this.#migration.failed(message);
      monitor?.emit('LIVE_UPDATE', { status: 'failed', error: message });
    }
  }

  async #attempt(plan: UpdatePlan, monitor: Monitor | undefined): Promise<void> {
    const { signal } = this.#cancelled;
    signal.throwIfAborted();
    const prepared = await prepare(this.#vm, plan, signal);
    try {
      signal.throwIfAborted();
      const { report } = prepared;
      const reasons = refusals(report, plan.allowLoss);
      if (reasons.length > 0) throw einval(`the successor cannot take the guest over: ${reasons.join('; ')}`);
      this.#migration.active();
      this.#rehearse(plan);
      // otherwise execve drops each page that the guest has ever touched
      this.#vm.parts.ram.dropPages();
      const lost = report.sections.filter(({ verdict }) => verdict === 'lost').map(({ name }) => name);
      const taken = await takeBack(this.#vm);
      try {
        await this.#stopAndReplace({ ...plan, prepared, lost, taken }, monitor);
      } catch (error) {
        await handOver(this.#vm, taken.slices);
        throw error;
      }
    } finally {
      release(prepared);
    }
  }

  /**
   * Saves what can be saved while the guest runs, and drops the result: code that runs for the
   * first time is slow.
   */
  #rehearse({ form }: UpdatePlan): void {
    const fd = memfdCreate('livevmm-rehearsal');
    for (let times = 0; times < REHEARSALS; times++) writeAll(fd, encodeState(saveSteady(this.#vm, form)));
    close(fd);
  }

  async #stopAndReplace(plan: PreparedPlan, monitor: Monitor | undefined): Promise<void> {
    try {
      await monitor?.quiet(REPLACED);
      await this.#vm.change(() => this.#replaceStopped(plan, monitor));
    } finally {
      monitor?.release();
    }
  }

  async #replaceStopped(plan: PreparedPlan, monitor: Monitor | undefined): Promise<void> {
    if (this.#vm.runState === 'shutdown') throw ebusy('the VM is ending');
    const wasRunning = this.#vm.runState === 'running';
    const begin = monotonicNs();
    const stopped = await this.#vm.quiesce();
    if (wasRunning) monitor?.emit('STOP');
    try {
      this.#cancelled.signal.throwIfAborted();
      this.#migration.device();
      this.#replace(plan, stopped, wasRunning ? stopped.atNs : begin);
    } catch (error) {
      this.#vm.parts.console.refill();
      if (wasRunning) monitor?.emit('RESUME');
      await this.#vm.unquiesce();
      throw error;
    }
  }

  /** Replaces the process. Nothing waits from here on. Throws after it has put everything back. */
  #replace(plan: PreparedPlan, stopped: Suspended, begin: number): never {
    const { console, host, ram } = this.#vm.parts;
    console.pause();
    this.#monitor()?.hold();
    const stop = monotonicNs();
    host?.container.invalidateVaddrs();
    try {
      this.#exec(plan, stopped, { begin, stop, invalidate: monotonicNs() });
    } catch (error) {
      host?.container.updateVaddrs(ram.vaddr);
      throw error;
    }
  }

  #exec(
    { node, entry, form, prepared, lost, taken: { slices, atNs, gapNs } }: PreparedPlan,
    stopped: Suspended,
    stamps: PhaseStamps,
  ): never {
    const monitor = this.#monitor()?.save() ?? NO_MONITOR;
    const { parts } = this.#vm;
    const fds: Record<string, number> = { ram: parts.ramFd, ...parts.host?.fds() };
    if (monitor.socket) fds['monitor socket'] = monitor.socket.fd;
    monitor.connections.forEach(({ fd }, i) => {
      fds[`monitor client ${i}`] = fd;
    });
    const { snapshotFd, turnFd, turnMs, preflightMs, snapshot } = prepared;
    if (snapshotFd !== undefined) fds.snapshot = snapshotFd;
    if (turnFd !== undefined) fds.turn = turnFd;
    if (parts.options.lifeline !== undefined) fds.lifeline = parts.options.lifeline;
    const takeback = { atNs, gapNs, longestGapNs: slices.longestGapNs };
    const update = UPDATE_SECTION.of({
      ...{ stamps, fds, takeback, migration: this.#migration.save() },
      prepared: { snapshot, turnMs, preflightMs },
    });
    const sections = saveAll({ vm: this.#vm, machine: stopped.state, monitor, update }, form);
    for (const name of lost) delete sections[name];
    const stateFd = memfdCreate('livevmm-state');
    const inherited = [0, 1, 2, stateFd, ...Object.values(fds)];
    const closing = inherited.filter((fd) => getCloexec(fd)); // Node sets FD_CLOEXEC on 0–2 too
    try {
      writeAll(stateFd, encodeState(sections));
      for (const fd of closing) setCloexec(fd, false);
      const start = snapshotFd === undefined ? [] : fromSnapshot(snapshotFd);
      const argv = [node, ...nodeOptions(), ...start, entry, '--resume', String(stateFd)];
      pwrite(stateFd, new Uint8Array(new Float64Array([monotonicNs()]).buffer), EXEC_NS_OFFSET);
      return execve(node, argv, successorEnv());
    } catch (error) {
      for (const fd of closing) setCloexec(fd, true);
      close(stateFd);
      throw error;
    }
  }
}
