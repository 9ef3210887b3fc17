/**
 * One demo run from boot to the last count: N live updates of a VMM with busy devices. It gathers
 * facts and judges nothing. What the guests do is not its business (guests.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { kexecUnder } from '../clients/kexec.ts';
import { liveUpdate, type UpdateReport } from '../clients/live-update.ts';
import type { FrameFacts } from '../launch/guest-console.ts';
import type { Machine } from '../launch/machine.ts';
import type { RunFacts, UpdateFacts } from './facts.ts';
import type { Guests } from './guests.ts';
import { type Defect, injectIntoHost } from './injection.ts';
import { countInterrupts } from './interrupt-count.ts';
import type { Observer } from './observer.ts';
import { ramHashMatches } from './ram-hash.ts';

/** The VMM's image, or the host's kernel and the VMM with it. */
export type UpdateKind = 'exec' | 'kexec';

export interface SessionOptions {
  readonly updates: number;
  readonly seconds: number;
  readonly inject?: Defect | undefined;
  /** What each update replaces; default: the VMM's image. */
  readonly kinds?: readonly UpdateKind[];
  /** Ends the run early. */
  readonly signal: AbortSignal;
}

/** Where a run takes place. */
export interface Stage<F extends FrameFacts, G> {
  /** The machine that is updated. */
  readonly machine: Machine<F>;
  readonly observer: Observer;
  readonly guests: Guests<G>;
}

/** Events of a run in progress. */
export interface SessionEvents {
  step(text: string): void;
  updated(update: UpdateFacts): void;
}

const READY_MS = 30_000;
const FINAL_MS = 15_000;
/** Time for a guest that has already failed to answer. */
const IMPATIENT_MS = 1_000;
/** The part of the run's time that is kept for boot and for the counts at the end. */
const RESERVED_MS = 3_000;
/** Shortest time between two updates: the guest must be seen running. */
const LEAST_INTERVAL_MS = 500;
/** Time after a pause in which the devices and the guest's heart must be seen going on. */
const AFTERMATH_MS = 200;

export class Session<F extends FrameFacts, G> {
  readonly #machine: Machine<F>;
  readonly #observer: Observer;
  readonly #guests: Guests<G>;
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #updates: UpdateFacts[] = [];
  readonly #errors: string[] = [];

  constructor({ machine, observer, guests }: Stage<F, G>, options: SessionOptions, events: SessionEvents) {
    this.#machine = machine;
    this.#observer = observer;
    this.#guests = guests;
    this.#options = options;
    this.#events = events;
  }

  async run(): Promise<RunFacts<G>> {
    const { updates, signal } = this.#options;
    const pid = this.#machine.vmm.pid;
    await this.#attempt(async () => {
      await this.#untilBusy();
      await this.#updateAll();
    });
    const guest = await this.#attempt(() => this.#finalCount());
    const interrupts = await this.#attempt(() => countInterrupts(this.#machine, this.#observer));
    const hashes = await this.#attempt(() => this.#compareRam(guest === null));
    signal.throwIfAborted();
    return {
      updatesWanted: updates,
      pid,
      updates: this.#updates,
      pteWritesDuringUpdates: this.#updates.reduce((sum, { pteWrites }) => sum + pteWrites, 0),
      guest,
      interrupts,
      ramHashMatches: hashes,
      errors: this.#errors,
    };
  }

  /** Runs a step. A failure of the step becomes one of the facts. */
  async #attempt<T>(step: () => Promise<T>): Promise<T | null> {
    try {
      this.#options.signal.throwIfAborted();
      return await this.#machine.whileAlive(step());
    } catch (error) {
      this.#options.signal.throwIfAborted();
      const { message } = error as Error;
      if (!this.#errors.includes(message)) this.#errors.push(message);
      return null;
    }
  }

  #pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#options.signal });
  }

  /** Waits until the guest has done each kind of work. */
  async #untilBusy(): Promise<void> {
    this.#events.step('guest boots');
    const readyMs = this.#guests.readyMs ?? READY_MS;
    const deadline = monotonicNs() + readyMs * 1e6;
    for (;;) {
      if (await this.#guests.atWork()) return;
      if (monotonicNs() > deadline) throw new Error(`the guest was not at work within ${readyMs} ms`);
      await this.#pause(50);
    }
  }

  async #updateAll(): Promise<void> {
    const { updates, seconds } = this.#options;
    const intervalNs = Math.max(LEAST_INTERVAL_MS, (seconds * 1000 - RESERVED_MS) / updates) * 1e6;
    const start = monotonicNs();
    for (let index = 0; index < updates; index++) {
      const due = start + (index + 0.5) * intervalNs;
      this.#events.step('guest runs');
      await this.#pause(Math.max(LEAST_INTERVAL_MS, (due - monotonicNs()) / 1e6));
      this.#events.step(`update ${index + 1}`);
      const kind = this.#options.kinds?.[index] ?? 'exec';
      const facts = await this.#updateOnce(kind, index === 0 ? this.#options.inject : undefined);
      this.#updates.push(facts);
      this.#events.updated(facts);
    }
  }

  async #updateOnce(kind: UpdateKind, defect: Defect | undefined): Promise<UpdateFacts> {
    const observer = this.#observer;
    const heartbeatsBefore = await this.#guests.heartbeats();
    const before = observer.counters();
    const tablesBefore = observer.tablesHash();
    const onStarted = (): void => {
      if (defect) injectIntoHost(defect, this.#machine);
    };
    const report =
      kind === 'kexec' ? await this.#kexec(onStarted) : await liveUpdate(this.#machine.qmp, {}, { onStarted });
    const { generation, pid, vaddrOld, vaddrNew, pauseMs, pauseStartNs, pauseEndNs, phasesMs } = report;
    await this.#pause(pauseMs + AFTERMATH_MS);
    const heartbeatsAfter = await this.#guests.heartbeats();
    const after = observer.counters();
    const tablesAfter = observer.tablesHash();
    return {
      ...(report.kexec ? { kexec: report.kexec } : {}),
      ...(tablesBefore && tablesAfter ? { tables: { before: tablesBefore, after: tablesAfter } } : {}),
      generation,
      pid,
      vaddrOld,
      vaddrNew,
      pauseMs,
      pauseStartNs,
      pauseEndNs,
      phasesMs,
      // a new kernel's count begins at 0
      pteWrites: after.pteWrites - (report.kexec ? 0 : before.pteWrites),
      tableWrites: observer.tableWrites(before),
      heartbeatsBefore,
      heartbeatsAfter,
      devices: observer.deviceFacts(pauseStartNs, pauseEndNs, before, after),
    };
  }

  async #kexec(onStarted: () => void): Promise<UpdateReport> {
    const machine = this.#machine;
    onStarted();
    this.#observer.away = true; // for good, if it fails
    const vmm = { qmpPath: machine.qmpSocket, qmp: machine.qmp };
    const [after] = await kexecUnder(machine.hostSocket, [vmm]);
    machine.reconnect(after!.qmp);
    this.#observer.away = false;
    return after!.report;
  }

  #finalCount(): Promise<G> {
    this.#events.step('guest counts');
    return this.#guests.final(this.#errors.length === 0 ? FINAL_MS : IMPATIENT_MS);
  }

  /**
   * Compares all of RAM through the VMM's mapping and through the board's. Nothing writes to RAM
   * meanwhile.
   */
  async #compareRam(devicesMayRun: boolean): Promise<boolean> {
    const { qmp, host, devices } = this.#machine;
    this.#events.step('RAM is hashed on both sides');
    if (devicesMayRun) for (const { bdf } of devices) host.ask({ op: 'stop-device', bdf });
    await qmp.execute('stop');
    return ramHashMatches(qmp, host);
  }
}
