/**
 * An update by transfer: the new image is another process. It starts and builds everything while
 * the guest runs here (standby/). The pause is then only stop → save → go, and the new process' own
 * load. The kernel has taken the vaddrs away before, and gets the new ones when the guest runs.
 * Until the new process has committed, this one stays and takes the guest back if the new one dies
 * or hangs.
 */
import { eio } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { sealWhole } from '../../platform/libc/memfd.ts';
import { tellOwner } from '../../platform/lifeline.ts';
import { writeAll } from '../../platform/whole-file.ts';
import { Publication } from '../crew/publication.ts';
import type { Vitals } from '../crew/vitals.ts';
import { MONITOR_SECTION } from '../monitor/state.ts';
import { hartsOf } from '../vm/vm-state.ts';
import {
  type AtRest,
  type CheckedPlan,
  type CutOff,
  fromMain,
  giveAway,
  REPLACED,
  tellStop,
  type Updating,
} from './at-rest.ts';
import { decodeAll } from './decoded-state.ts';
import { settle } from './go-on.ts';
import type { Channels } from './migration/channels.ts';
import { NewImage } from './new-image.ts';
import { type Preparation, timesOf } from './preparation.ts';
import { StateRehearsal } from './rehearsal.ts';
import { RUN_WITHIN_MS, SETTLE_WITHIN_MS, settleLimit } from './standby/bounds.ts';
import type { FromStandby } from './standby/protocol.ts';
import { rehearseWords } from './standby/rehearsed-words.ts';
import { rollBack } from './standby/roll-back.ts';
import { StandbyProcess } from './standby/standby-process.ts';
import { watchedVitals } from './standby/watched-vitals.ts';
import { newStateFile } from './state-file.ts';
import { fdsOf, saveSteady } from './survivors.ts';
import { TimeLeft } from './time-limit.ts';
import { type Manner, type Rest, StateAhead } from './transferred-state.ts';

export interface TransferPlan extends CheckedPlan {
  /** Absent with `channels`: nobody but its user can start that successor. */
  readonly prepared?: Preparation;
  /**
   * Where a VMM waits that its user has started (`vmm --incoming`). It has a monitor of its own,
   * and ours stays here.
   */
  readonly channels?: Channels;
}

/**
 * Moves the guest to another process; resolves when that has committed. Rejects when the guest runs
 * on here, with the reason.
 */
export async function transferUpdate(what: Updating, plan: TransferPlan): Promise<void> {
  const { channels, probationMs } = plan;
  const stateFd = newStateFile();
  let vitals: Vitals | undefined;
  let rehearsal: StateRehearsal | undefined;
  let successor: StandbyProcess | undefined;
  try {
    rehearseWords();
    rehearsal = StateRehearsal.ofTransfer(what.vm, mannerOf(plan));
    vitals = watchedVitals(hartsOf(what.vm.parts.options));
    successor = successorOf(plan);
    await successor.equip(saveSteady(what.vm), {
      role: 'successor',
      state: stateFd,
      vitals: vitals.fd,
      probationMs,
      now: null,
    });
    what.signal.throwIfAborted();
    if (channels) what.migration.active();
    await new Transfer(what, plan, { successor, stateFd, vitals, rehearsal }).run();
    if (channels) successor.release(); // it need not wait for our end
  } catch (error) {
    if (channels)
      successor?.release(); // it ends by itself; if it had the guest, it is dead
    else await successor?.kill();
    throw error;
  } finally {
    vitals?.release();
    rehearsal?.end();
    close(stateFd);
  }
}

function successorOf({ channels, prepared, node, entry }: TransferPlan): StandbyProcess {
  if (channels) return StandbyProcess.connect(channels);
  return StandbyProcess.start({ node, entry, snapshotFd: prepared?.snapshotFd });
}

const mannerOf = ({ form, lost, channels }: TransferPlan): Manner => ({ form, lost, hasOwner: channels !== undefined });

interface Destination {
  readonly successor: StandbyProcess;
  readonly stateFd: number;
  readonly vitals: Vitals;
  readonly rehearsal: StateRehearsal;
}

class Transfer {
  readonly #what: Updating;
  readonly #plan: TransferPlan;
  readonly #to: Destination;
  /** Whether the guest has run in the new process. */
  #hasRun = false;
  /** Whether it has run there by vital signs that nobody here sees. */
  #ranUnseen = false;
  /** The monitor's count of changes when its sockets went ahead. */
  #changes: number | undefined;

  constructor(what: Updating, plan: TransferPlan, to: Destination) {
    this.#what = what;
    this.#plan = plan;
    this.#to = to;
  }

  async run(): Promise<void> {
    const { vm, monitor } = this.#what;
    const { channels } = this.#plan;
    try {
      await monitor?.quiet(REPLACED);
      if (!channels) this.#passClients();
      await vm.change(async () => this.#move(await this.#sendAhead()));
      if (channels) monitor?.release();
    } catch (error) {
      monitor?.release({ forget: this.#hasRun && !channels });
      throw error;
    }
  }

  /** What the pause need not wait for: the first part of the state, and both sides' rehearsal. */
  async #sendAhead(): Promise<StateAhead> {
    const { vm } = this.#what;
    const { successor, rehearsal } = this.#to;
    const ahead = new StateAhead(vm, mannerOf(this.#plan));
    successor.passMore(Object.values(ahead.fds), { aheadHolds: true });
    successor.sendNow({ kind: 'soon', sections: ahead.file });
    await this.#expect('warm', RUN_WITHIN_MS, 'was not ready');
    rehearsal.onceMore(); // V8 has compiled by now what it wanted to
    vm.parts.host?.container.checkUpdatable(); // the kernel's thread wakes up now, and not in the pause
    return ahead;
  }

  /** Resolves when the new process has committed. */
  async #move(ahead: StateAhead): Promise<void> {
    const { successor } = this.#to;
    const { rest, given } = await giveAway(this.#what, {
      prepared: true,
      give: (rest, cut) => this.#handOver(rest, cut, ahead),
      undo: () => successor.kill(), // it may have been told
    });
    try {
      await this.#untilCommitted(rest);
    } catch (error) {
      await this.#rollBack(given, rest);
      throw error;
    }
  }

  /** The monitor's sockets go ahead. */
  #passClients(): void {
    const { monitor } = this.#what;
    if (!monitor) return;
    this.#changes = monitor.changes;
    this.#to.successor.passAhead(Object.values(fdsOf({ [MONITOR_SECTION.name]: monitor.present() })));
  }

  /** Gives the state away. */
  #handOver(rest: AtRest, { stop }: CutOff, ahead: StateAhead): Rest {
    const { successor, stateFd } = this.#to;
    const { prepared, channels } = this.#plan;
    const { monitor } = this.#what;
    const update = { takeback: null, prepared: prepared ? timesOf(prepared) : null, guardian: null };
    const stamps = { begin: rest.begin, stop, invalidate: stop };
    const state = ahead.rest(rest.stopped, fromMain(this.#what, stamps, { withMonitor: !channels, update }));
    writeAll(stateFd, state.file);
    sealWhole(stateFd);
    successor.passMore(Object.values(state.fds), { aheadHolds: monitor?.changes === this.#changes });
    void this.#what.standing?.dismiss(); // from here on this process is the guardian
    successor.sendNow({ kind: 'go' });
    return state;
  }

  /** The guest may run in the new process from here on. */
  async #untilCommitted(rest: AtRest): Promise<void> {
    const { monitor, left } = this.#what;
    const { probationMs, channels } = this.#plan;
    tellStop(this.#what, rest);
    this.#to.successor.sendNow({ kind: 'left' });
    const { watched } = await this.#expect('running', RUN_WITHIN_MS, 'did not run the guest');
    const { begun } = new Publication(this.#to.vitals.shared.publication);
    if (watched && rest.wasRunning && !begun) throw eio('the new process says that the guest runs, and it does not');
    this.#hasRun = true;
    this.#ranUnseen = !watched;
    left(this.#to.successor.pid);
    if (!channels) monitor?.leave();
    await this.#expect('committed', probationMs + SETTLE_WITHIN_MS, 'did not commit');
  }

  /** EIO says what the successor did instead. When the guest runs there, its own time counts. */
  async #expect<K extends 'warm' | 'running' | 'committed'>(
    kind: K,
    ms: number,
    failing: string,
  ): Promise<Extract<FromStandby, { readonly kind: K }>> {
    const { successor } = this.#to;
    const time = kind === 'committed' ? new TimeLeft(successor.pid, settleLimit(ms)) : undefined;
    let word = await successor.next(ms);
    while (word === 'late' && time && time.ms > 0) word = await successor.next(time.ms);
    if (word === 'closed') throw eio('the new process died');
    if (word === 'late') throw eio(`the new process ${failing} within ${ms / 1000} s`);
    if (word.kind === 'failed') throw eio(word.reason);
    if (word.kind !== kind) throw eio(`the new process says ${word.kind}`);
    return word as Extract<FromStandby, { readonly kind: K }>;
  }

  async #rollBack(state: Rest, { wasRunning }: AtRest): Promise<void> {
    const { vm, monitor, left } = this.#what;
    const { console, options } = vm.parts;
    left(undefined);
    if (options.lifeline !== undefined) tellOwner(options.lifeline, { pid: process.pid }); // the new one may have told
    await this.#to.successor.kill(); // two must never run one guest
    vm.relieve(); // the threads know only their own last state
    const image = new NewImage({ vm, rollback: true });
    const saved = { completeNs: 0, sections: new Map(Object.entries(state.all())) };
    const remains = { saved, vitals: this.#to.vitals, ranUnseen: this.#ranUnseen };
    const going = await rollBack(image, remains, decodeAll);
    for (const line of image.doubts) process.stderr.write(`vmm: ${line}\n`);
    console.refill();
    if (wasRunning) monitor?.emit('RESUME');
    await settle(going);
  }
}
