/**
 * An exec update, the old image's side (docs/DESIGN.md, "Three lifetimes"): take the guest back
 * from its threads → stop → invalidate vaddrs → save → execve. Until the execve succeeds, this
 * image itself puts everything back: vaddrs become valid again, fds close-on-exec again, and new
 * threads run the guest on. From the execve to the commit of the new image, a guardian does that
 * (standby/guard.ts).
 */
import { monotonicNs } from '../../platform/clock.ts';
import { ebusy } from '../../platform/errno.ts';
import { close, getCloexec, setCloexec } from '../../platform/libc/fd.ts';
import { pwrite } from '../../platform/libc/file-bytes.ts';
import { execve } from '../../platform/libc/this-process.ts';
import type { Suspended } from '../crew/vcpu/protocol.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { handOver } from './hand-over.ts';
import type { Migration } from './migration/migration.ts';
import { fromSnapshot, nodeOptions } from './node-options.ts';
import type { PhaseStamps } from './phases.ts';
import type { Preparation } from './preparation.ts';
import type { Form } from './releases.ts';
import { type Guarded, Guardian } from './standby/guardian.ts';
import { EXEC_NS_OFFSET, encodeState, newStateFile, sealState } from './state-file.ts';
import { successorEnv } from './successor-env.ts';
import { fdsOf, inForm, saveAll } from './survivors.ts';
import { type TakenBack, takeBack } from './take-back.ts';
import { UPDATE_SECTION } from './update-state.ts';
import { writeAll } from './write-all.ts';

/** The answer to a client whose command is still executing, a hash of much memory for example. */
export const REPLACED = 'the VMM is being replaced by an update; ask the new one';

export interface UpdatePlanned {
  readonly node: string;
  readonly entry: string;
  readonly form: Form;
  /** Sections that the successor does not know. They are not handed over. */
  readonly lost: readonly string[];
  readonly probationMs: number;
}

export interface ExecPlan extends UpdatePlanned {
  readonly prepared: Preparation;
  /** Who takes the guest back if the new image does not commit; undefined: nobody. */
  readonly guarded: Guarded | undefined;
}

/** What an update works on. */
export interface Updating {
  readonly vm: Vm;
  readonly monitor: Monitor | undefined;
  readonly migration: Migration;
  /** Aborted by a client that cancels the update. */
  readonly signal: AbortSignal;
  /** Is told which other process runs the guest now; undefined: this one again. */
  left(pid: number | undefined): void;
}

/**
 * Replaces this process. It resolves never, and rejects when the guest runs on as before: with the
 * errno of the execve, or why it was not tried.
 */
export async function execUpdate(what: Updating, plan: ExecPlan): Promise<never> {
  const { vm } = what;
  const guardian = plan.guarded && (await Guardian.start(vm, plan.guarded));
  try {
    vm.parts.ram.dropPages(); // otherwise execve drops each page that the guest has ever touched
    const taken = await takeBack(vm);
    try {
      return await new ExecUpdate(what, plan, guardian, taken).run();
    } catch (error) {
      await handOver(vm, taken.slices);
      throw error;
    }
  } finally {
    await guardian?.dismiss();
  }
}

class ExecUpdate {
  readonly #vm: Vm;
  readonly #monitor: Monitor | undefined;
  readonly #migration: Migration;
  readonly #signal: AbortSignal;
  readonly #plan: ExecPlan;
  readonly #guardian: Guardian | undefined;
  readonly #taken: TakenBack;

  constructor(
    { vm, monitor, migration, signal }: Updating,
    plan: ExecPlan,
    guardian: Guardian | undefined,
    taken: TakenBack,
  ) {
    this.#vm = vm;
    this.#monitor = monitor;
    this.#migration = migration;
    this.#signal = signal;
    this.#plan = plan;
    this.#guardian = guardian;
    this.#taken = taken;
  }

  async run(): Promise<never> {
    try {
      await this.#monitor?.quiet(REPLACED);
      return await this.#vm.change(() => this.#replaceStopped());
    } finally {
      this.#monitor?.release();
    }
  }

  async #replaceStopped(): Promise<never> {
    if (this.#vm.runState === 'shutdown') throw ebusy('the VM is ending');
    const wasRunning = this.#vm.runState === 'running';
    const begin = monotonicNs();
    const stopped = await this.#vm.quiesce();
    if (wasRunning) this.#monitor?.emit('STOP');
    try {
      this.#signal.throwIfAborted();
      this.#migration.device();
      return this.#replace(stopped, wasRunning ? stopped.atNs : begin);
    } catch (error) {
      this.#vm.parts.console.refill();
      if (wasRunning) this.#monitor?.emit('RESUME');
      await this.#vm.unquiesce();
      throw error;
    }
  }

  /** Replaces the process. Nothing waits from here on. Throws after it has put everything back. */
  #replace(stopped: Suspended, begin: number): never {
    const { console, host, ram } = this.#vm.parts;
    console.pause();
    this.#monitor?.hold();
    const stop = monotonicNs();
    host?.container.invalidateVaddrs();
    try {
      this.#exec(stopped, { begin, stop, invalidate: monotonicNs() });
    } catch (error) {
      host?.container.updateVaddrs(ram.vaddr);
      throw error;
    }
  }

  #exec(stopped: Suspended, stamps: PhaseStamps): never {
    const { node, entry, form, prepared, lost } = this.#plan;
    const { snapshotFd, turnFd, turnMs, preflightMs, snapshot } = prepared;
    const { slices, atNs, gapNs } = this.#taken;
    const guardian = this.#guardian;
    const machine = stopped.state;
    const monitor = this.#monitor?.save() ?? NO_MONITOR;
    const others = {
      ...(snapshotFd === undefined ? {} : { snapshot: snapshotFd }),
      ...(turnFd === undefined ? {} : { turn: turnFd }),
      ...(guardian ? { guardian: guardian.messagesFd, vitals: guardian.vitalsFd } : {}),
    };
    const update = UPDATE_SECTION.of({
      stamps,
      fds: {},
      takeback: { atNs, gapNs, longestGapNs: slices.longestGapNs },
      migration: this.#migration.save(),
      prepared: { snapshot, turnMs, preflightMs },
      guardian: guardian?.state ?? null,
    });
    const sections = saveAll({ vm: this.#vm, machine, monitor, update });
    const fds = fdsOf(sections);
    const all = { ...fds, ...others };
    sections[UPDATE_SECTION.name] = UPDATE_SECTION.of({ ...update, fds: all });
    for (const name of lost) delete sections[name];
    const written = inForm(sections, form);
    const stateFd = guardian?.stateFd ?? newStateFile();
    const inherited = [0, 1, 2, stateFd, ...Object.values(all)];
    const closing = inherited.filter((fd) => getCloexec(fd)); // Node sets FD_CLOEXEC on 0–2 too
    try {
      writeAll(stateFd, encodeState(written));
      guardian?.watch(Object.values(fds));
      for (const fd of closing) setCloexec(fd, false);
      const start = snapshotFd === undefined ? [] : fromSnapshot(snapshotFd);
      const argv = [node, ...nodeOptions(), ...start, entry, '--resume', String(stateFd)];
      pwrite(stateFd, new Uint8Array(new Float64Array([monotonicNs()]).buffer), EXEC_NS_OFFSET);
      sealState(stateFd);
      return execve(node, argv, successorEnv());
    } catch (error) {
      for (const fd of closing) setCloexec(fd, true);
      if (!guardian) close(stateFd);
      throw error;
    }
  }
}
