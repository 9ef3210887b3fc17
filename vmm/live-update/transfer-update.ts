/**
 * An update by transfer: the new image is another process. It starts and builds everything while
 * the guest runs here (standby/). The pause is then only stop → invalidate vaddrs → save → go, and
 * the new process' own remap and load. Until it has committed, this one stays and takes the guest
 * back if the new one dies or hangs.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { ebusy, eio } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import type { Suspended } from '../crew/vcpu/protocol.ts';
import { Vitals } from '../crew/vitals.ts';
import { HARTS } from '../machine/hart-local/hart-number.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { REPLACED, type UpdatePlanned, type Updating } from './exec-update.ts';
import { goOn, restorePhase, settle } from './go-on.ts';
import { NewImage } from './new-image.ts';
import { StandbyProcess } from './standby/standby-process.ts';
import { encodeState, newStateFile, type StateFile, sealState } from './state-file.ts';
import { decodeAll, fdsOf, inForm, saveAll } from './survivors.ts';
import { UPDATE_SECTION } from './update-state.ts';
import { writeAll } from './write-all.ts';

/** The time in which the guest must run in the new process. */
const RUNNING_MS = 10_000;
/** How long the new process may take to commit, beside the probation. */
const SETTLE_MS = 10_000;

/**
 * Moves the guest to another process; resolves when that has committed. Rejects when the guest runs
 * on here, with the reason.
 */
export async function transferUpdate(what: Updating, plan: UpdatePlanned): Promise<void> {
  const { prepared, node, entry, probationMs } = plan;
  const stateFd = newStateFile();
  const vitals = Vitals.create(HARTS);
  const successor = StandbyProcess.start({ node, entry, snapshotFd: prepared.snapshotFd });
  try {
    const files = { state: stateFd, vitals: vitals.fd };
    await successor.equip(what.vm, { role: 'successor', ...files, probationMs, always: false });
    await new Transfer(what, plan, successor, stateFd).run();
  } catch (error) {
    await successor.kill();
    throw error;
  } finally {
    vitals.release();
    close(stateFd);
  }
}

class Transfer {
  readonly #what: Updating;
  readonly #vm: Vm;
  readonly #plan: UpdatePlanned;
  readonly #successor: StandbyProcess;
  readonly #stateFd: number;
  /** Whether the guest has run in the new process. */
  #ran = false;

  constructor(what: Updating, plan: UpdatePlanned, successor: StandbyProcess, stateFd: number) {
    this.#what = what;
    this.#vm = what.vm;
    this.#plan = plan;
    this.#successor = successor;
    this.#stateFd = stateFd;
  }

  async run(): Promise<void> {
    const { monitor } = this.#what;
    try {
      await monitor?.quiet(REPLACED);
      await this.#vm.change(() => this.#moveStopped());
    } catch (error) {
      monitor?.release({ forget: this.#ran });
      throw error;
    }
  }

  /** Resolves when the new process has committed. */
  async #moveStopped(): Promise<void> {
    const { monitor, signal, migration, left } = this.#what;
    if (this.#vm.runState === 'shutdown') throw ebusy('the VM is ending');
    const wasRunning = this.#vm.runState === 'running';
    const begin = monotonicNs();
    const stopped = await this.#vm.quiesce();
    if (wasRunning) monitor?.emit('STOP');
    let saved: StateFile | undefined;
    try {
      signal.throwIfAborted();
      migration.device();
      saved = this.#handOver(stopped, wasRunning ? stopped.atNs : begin);
      await this.#expect('running', RUNNING_MS, 'did not run the guest');
      this.#ran = true;
      left(this.#successor.pid);
      monitor?.leave();
      await this.#expect('committed', this.#plan.probationMs + SETTLE_MS, 'did not commit');
    } catch (error) {
      left(undefined);
      await this.#successor.kill(); // two must never run one guest
      await this.#takeBack(saved, wasRunning);
      throw error;
    }
  }

  /** Gives the state away. Nothing waits here. */
  #handOver(stopped: Suspended, begin: number): StateFile {
    const { monitor, migration, vm } = this.#what;
    const { console, host } = vm.parts;
    const { prepared, lost, form } = this.#plan;
    console.pause();
    monitor?.hold();
    const stop = monotonicNs();
    host?.container.invalidateVaddrs();
    const invalidate = monotonicNs();
    const { turnMs, preflightMs, snapshot } = prepared;
    const update = UPDATE_SECTION.of({
      stamps: { begin, stop, invalidate },
      fds: {},
      takeback: null,
      migration: migration.save(),
      prepared: { snapshot, turnMs, preflightMs },
      guardian: null,
    });
    const machine = stopped.state;
    const sections = saveAll({ vm, machine, monitor: monitor?.save() ?? NO_MONITOR, update });
    const fds = fdsOf(sections);
    const all = new Map(Object.entries(sections));
    for (const name of lost) delete sections[name];
    writeAll(this.#stateFd, encodeState(inForm(sections, form)));
    sealState(this.#stateFd);
    this.#successor.passMore(Object.values(fds));
    this.#successor.sendNow({ kind: 'go', ns: monotonicNs() });
    return { execNs: 0, sections: all };
  }

  /** EIO says what the successor did instead. */
  async #expect(kind: 'running' | 'committed', ms: number, failing: string): Promise<void> {
    const word = await this.#successor.next(ms);
    if (word === 'closed') throw eio('the new process died');
    if (word === 'late') throw eio(`the new process ${failing} within ${ms / 1000} s`);
    if (word.kind === 'failed') throw eio(word.reason);
    if (word.kind !== kind) throw eio(`the new process says ${word.kind}`);
  }

  async #takeBack(saved: StateFile | undefined, wasRunning: boolean): Promise<void> {
    const { monitor, vm } = this.#what;
    const { console } = vm.parts;
    if (!saved) {
      console.refill();
      if (wasRunning) monitor?.emit('RESUME');
      await vm.unquiesce();
      return;
    }
    const image = new NewImage({ vm, rollback: true });
    vm.relieve(); // the threads know only their own last state
    const restorables = decodeAll(saved);
    for (const phase of ['map', 'remap', 'load'] as const) restorePhase(image, restorables, phase, { prepared: true });
    const going = await goOn(image);
    console.refill();
    if (wasRunning) monitor?.emit('RESUME');
    await settle(going);
  }
}
