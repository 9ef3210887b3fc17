/**
 * An update by transfer: the new image is another process. It starts and builds everything while
 * the guest runs here (standby/). The pause is then only stop → invalidate vaddrs → save → go, and
 * the new process' own remap and load. Until it has committed, this one stays and takes the guest
 * back if the new one dies or hangs.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { ebusy, eio } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { tellOwner } from '../../platform/lifeline.ts';
import type { Suspended } from '../crew/vcpu/protocol.ts';
import type { Vitals } from '../crew/vitals.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { REPLACED, type UpdatePlanned, type Updating } from './exec-update.ts';
import { goOn, restorePhase, settle } from './go-on.ts';
import type { Channels } from './migration/channels.ts';
import { NewImage } from './new-image.ts';
import type { Preparation } from './preparation.ts';
import { lastState } from './standby/last-state.ts';
import { StandbyProcess } from './standby/standby-process.ts';
import { watchedVitals } from './standby/watched-vitals.ts';
import { withoutOwner } from './standby/without-owner.ts';
import { encodeState, newStateFile, type StateFile, sealState } from './state-file.ts';
import { decodeAll, fdsOf, inForm, saveAll } from './survivors.ts';
import { UPDATE_SECTION } from './update-state.ts';
import { writeAll } from './write-all.ts';

export interface TransferPlan extends UpdatePlanned {
  /** Absent with `channels`: nobody but its user can start that successor. */
  readonly prepared?: Preparation;
  /**
   * Where a VMM waits that its user has started (`vmm --incoming`). It has a monitor of its own,
   * and ours stays here.
   */
  readonly channels?: Channels;
}

/** The time in which the guest must run in the new process. */
const RUNNING_MS = 5000;
/** How long the new process may take to commit, beside the probation. */
const SETTLE_MS = 5000;

/**
 * Moves the guest to another process; resolves when that has committed. Rejects when the guest runs
 * on here, with the reason.
 */
export async function transferUpdate(what: Updating, plan: TransferPlan): Promise<void> {
  const { channels, probationMs } = plan;
  const stateFd = newStateFile();
  const vitals = watchedVitals();
  const successor = successorOf(plan);
  try {
    const files = { state: stateFd, vitals: vitals.fd };
    await successor.equip(what.vm, { role: 'successor', ...files, probationMs, always: false });
    what.signal.throwIfAborted();
    if (channels) what.migration.active();
    await new Transfer(what, plan, { successor, stateFd, vitals }).run();
    if (channels) successor.release(); // it need not wait for our end
  } catch (error) {
    if (channels)
      successor.release(); // it ends by itself; if it had the guest, it is dead
    else await successor.kill();
    throw error;
  } finally {
    vitals.release();
    close(stateFd);
  }
}

function successorOf({ channels, prepared, node, entry }: TransferPlan): StandbyProcess {
  if (channels) return StandbyProcess.connect(channels);
  return StandbyProcess.start({ node, entry, snapshotFd: prepared?.snapshotFd });
}

interface Destination {
  readonly successor: StandbyProcess;
  readonly stateFd: number;
  readonly vitals: Vitals;
}

class Transfer {
  readonly #what: Updating;
  readonly #vm: Vm;
  readonly #plan: TransferPlan;
  readonly #successor: StandbyProcess;
  readonly #stateFd: number;
  readonly #vitals: Vitals;
  /** Whether the guest has run in the new process. */
  #ran = false;

  constructor(what: Updating, plan: TransferPlan, { successor, stateFd, vitals }: Destination) {
    this.#vitals = vitals;
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
      if (this.#plan.channels) monitor?.release();
    } catch (error) {
      monitor?.release({ forget: this.#ran && !this.#plan.channels });
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
      if (!this.#plan.channels) monitor?.leave();
      await this.#expect('committed', this.#plan.probationMs + SETTLE_MS, 'did not commit');
    } catch (error) {
      left(undefined);
      const { lifeline } = this.#vm.parts.options;
      if (lifeline !== undefined) tellOwner(lifeline, { pid: process.pid }); // the new process may have told
      await this.#successor.kill(); // two must never run one guest
      await this.#takeBack(saved, wasRunning);
      throw error;
    }
  }

  /** Gives the state away. Nothing waits here. */
  #handOver(stopped: Suspended, begin: number): StateFile {
    const { monitor, migration, vm } = this.#what;
    const { console, host } = vm.parts;
    const { prepared, channels, lost, form } = this.#plan;
    console.pause();
    monitor?.hold();
    const stop = monotonicNs();
    host?.container.invalidateVaddrs();
    const invalidate = monotonicNs();
    const update = UPDATE_SECTION.of({
      stamps: { begin, stop, invalidate },
      fds: {},
      takeback: null,
      migration: migration.save(),
      prepared: prepared ? timesOf(prepared) : null,
      guardian: null,
    });
    const machine = stopped.state;
    const monitors = (channels ? undefined : monitor?.save()) ?? NO_MONITOR;
    const saved = saveAll({ vm, machine, monitor: monitors, update });
    const all = new Map(Object.entries(saved));
    const sections = channels ? withoutOwner(saved) : saved;
    const fds = fdsOf(sections);
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
    const { state, reset, doubts } = lastState(saved, this.#vitals, image.ram.mapping.buffer, this.#ran);
    image.doubts.push(...doubts);
    const restorables = decodeAll(state);
    for (const phase of ['map', 'remap', 'load'] as const) restorePhase(image, restorables, phase, { prepared: true });
    for (const line of image.doubts) process.stderr.write(`vmm: ${line}\n`);
    const going = await goOn(image, { reset });
    console.refill();
    if (wasRunning) monitor?.emit('RESUME');
    await settle(going);
  }
}

const timesOf = ({ snapshot, turnMs, preflightMs }: Preparation) => ({ snapshot, turnMs, preflightMs });
