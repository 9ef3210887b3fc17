/**
 * `--guardian always`: a guardian stands by all the time, and takes the guest over when this
 * process dies. All that time the guest's vCPU publishes its state. When the guardian itself ends,
 * another one is started.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Monitor } from '../../monitor/monitor.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import { MONITOR_SECTION, NO_MONITOR } from '../../monitor/state.ts';
import { CONSOLE_SECTION } from '../../vm/console.ts';
import type { Vm } from '../../vm/vm.ts';
import type { Migration } from '../migration/migration.ts';
import { encodeState } from '../state-file.ts';
import { fdsOf, saveSteady } from '../survivors.ts';
import { NO_UPDATE, UPDATE_SECTION } from '../update-state.ts';
import type { Protector } from './commitment.ts';
import { Guardian } from './guardian.ts';
import { publishIn } from './watched-vitals.ts';

/**
 * After a guardian that could not be started, or has ended by itself, another one is tried: so long
 * after the last one was.
 */
const AGAIN_MS = 2000;
/** The guardian of a guardian that has died looks within this time whether the VMM is dead, too. */
const BEHIND_MS = 1000;
/** An image that is to commit waits no longer than this for its guardian. */
const READY_WITHIN_MS = 3000;

export interface Guarding {
  readonly vm: Vm;
  readonly migration: Migration;
  monitor(): Monitor | undefined;
  /** When guardians have taken this guest over: the latest times, CLOCK_MONOTONIC ns. */
  readonly takeovers: readonly number[];
  /** Who stands by already, because this process was a guardian. */
  readonly behind?: Guardian | undefined;
}

export class StandingGuardian {
  readonly #of: Guarding;
  #guardian: Guardian | undefined;
  /** Whether the guardian may take over: no other process would. */
  #alone = false;
  #over = false;
  /** What the guardian knows. */
  #known = '';
  #ending: Promise<void> = Promise.resolve();
  /** When one was started last. */
  #startedMs = Number.NEGATIVE_INFINITY;

  constructor(of: Guarding) {
    this.#of = of;
  }

  /** The process that stands by; undefined: there is none. */
  get pid(): number | undefined {
    return this.#alone ? this.#guardian?.pid : undefined;
  }

  /** The process that guards that one, and takes over if both die. */
  get second(): number | undefined {
    return this.#alone ? this.#guardian?.second : undefined;
  }

  /** The process that is ready, and stands by when this image has committed. */
  get waiting(): number | undefined {
    return this.#alone ? undefined : this.#guardian?.pid;
  }

  /**
   * Starts it. It stands by as soon as it is ready and `protector` does not any more: two must
   * never take over one guest.
   */
  begin(protector: Protector | undefined): void {
    const { vm, monitor } = this.#of;
    publishIn(vm.parts.vitals, true);
    monitor()?.onChange(() => this.refresh());
    vm.listen(() => this.refresh());
    const { behind } = this.#of;
    if (behind) this.#adopt(behind);
    const started = behind ? Promise.resolve() : this.#start();
    if (protector?.standing !== true) {
      this.#stand();
      return;
    }
    const ready = Promise.race([started, sleep(READY_WITHIN_MS, undefined, { ref: false })]);
    protector.relief = { ready, stand: () => this.#stand() };
  }

  /** Starts another one after an update that failed. */
  renew(): void {
    if (!this.#guardian) void this.#start();
  }

  /** It belongs to an update now, and stands by on; undefined: there is none. */
  take(): Guardian | undefined {
    const guardian = this.#guardian;
    this.#guardian = undefined;
    return guardian;
  }

  /** To be called when a command has been executed, or a client has come or gone. */
  refresh(): void {
    const guardian = this.#guardian;
    if (!guardian) return;
    const { vm, migration, monitor } = this.#of;
    const known = JSON.stringify([vm.runState, migration.save(), monitor()?.changes]);
    if (known === this.#known) return;
    this.#known = known;
    const sections = {
      ...saveSteady(vm),
      [UPDATE_SECTION.name]: UPDATE_SECTION.of({ ...NO_UPDATE, migration: migration.save() }),
      [MONITOR_SECTION.name]: monitor()?.present() ?? NO_MONITOR,
      [CONSOLE_SECTION.name]: CONSOLE_SECTION.of(vm.parts.console.present()),
    };
    this.#tell(() => guardian.learn(encodeState(sections), Object.values(fdsOf(sections))));
  }

  /** It takes the guest over no more. `dismissed` resolves when it is gone. */
  dismiss(): Promise<void> {
    const guardian = this.take();
    if (guardian) this.#ending = guardian.dismiss();
    return this.#ending;
  }

  /** The guest ends, or goes to another process: as `dismiss`, and no other one is started. */
  end(): Promise<void> {
    this.#over = true;
    return this.dismiss();
  }

  /** Never rejects. */
  async #start(): Promise<void> {
    const { vm } = this.#of;
    this.#startedMs = performance.now();
    try {
      const guardian = await Guardian.start({ steady: saveSteady(vm), nowFd: vm.parts.vitals.fd });
      if (this.#over || this.#guardian) return await guardian.dismiss();
      this.#adopt(guardian);
      if (this.#alone) this.#stand();
    } catch (error) {
      this.#without((error as Error).message);
    }
  }

  #adopt(guardian: Guardian): void {
    this.#guardian = guardian;
    this.#known = '';
    void guardian.ended.then(() => this.#lost(guardian));
    guardian.onSecond = () => this.#tellStanding(guardian);
    this.refresh();
  }

  #stand(): void {
    this.#alone = true;
    const guardian = this.#guardian;
    if (!guardian || this.#over) return;
    this.#tell(() => guardian.stand(this.#of.takeovers));
    this.#tellStanding(guardian);
  }

  #tellStanding(guardian: Guardian): void {
    if (this.#guardian !== guardian || !this.#alone) return;
    const { pid, second } = guardian;
    this.#emit({ status: 'standing', pid, ...(second === undefined ? {} : { second }) });
  }

  /** A guardian that does not listen is no guardian. */
  #tell(say: () => void): void {
    try {
      say();
    } catch {
      void this.dismiss().then(() => this.#without('it does not listen'));
    }
  }

  #lost(guardian: Guardian): void {
    if (this.#guardian !== guardian) return;
    void this.dismiss(); // gives its files back
    this.#without('it has ended');
  }

  #without(reason: string): void {
    if (this.#over) return;
    process.stderr.write(`vmm: no guardian stands by: ${reason}\n`);
    this.#emit({ status: 'gone', error: reason });
    // the one behind the guardian has looked after us by then, and ended
    const waitMs = Math.max(BEHIND_MS, this.#startedMs + AGAIN_MS - performance.now());
    setTimeout(() => this.renew(), waitMs).unref();
  }

  #emit(data: JsonObject): void {
    this.#of.monitor()?.emit('GUARDIAN', data);
  }
}
