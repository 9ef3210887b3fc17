/**
 * A vCPU obeys main's request word and runs harts in slices, in turn (turns.ts). It is the only
 * owner of what all harts share. It does not wait for the guest itself; it returns what it would
 * wait for. The vCPU thread then blocks (loop.ts); main, which runs the first slices in a new
 * image, returns to its event loop.
 */
import type { StopReason } from '../../../guest/riscv/engine.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { float64s, int32s } from '../../../platform/shared.ts';
import {
  crewOnDuty,
  hartWords,
  hartWords64,
  MachineBlock,
  numberOf,
  OWNER_HART,
  obeyed,
  REQUEST_RESET,
  REQUEST_RUN,
  REQUEST_STOP,
  requestWord,
  whatOf,
} from '../../machine/control/control-block.ts';
import { takeAttention } from '../../machine/control/lease.ts';
import type { HartLocal, HartLocalState } from '../../machine/hart-local/hart-local.ts';
import type { Machine } from '../../machine/machine.ts';
import { FarServer } from '../../machine/shared/far-access.ts';
import { RecordingIsOver } from '../../machine/shared/replay/recording.ts';
import { Publisher } from '../publisher.ts';
import type { VmShared } from '../vm-shared.ts';
import { COUNT_EVERY_NS, LONGEST_WFI_MS } from './budget.ts';
import { CountedTurns } from './counted-turns.ts';
import { FreeTurns } from './free-turns.ts';
import { Lending } from './lending.ts';
import { Loan } from './loan.ts';
import type { PostedInterrupts } from './posted-interrupts.ts';
import type { InitialState, VcpuMessage } from './protocol.ts';
import { RecordedRun } from './recorded-run.ts';
import type { StoppedState } from './stopped-state.ts';
import type { Suspended } from './suspended.ts';
import type { Slice, Turns } from './turns.ts';

/** While the guest waits, a full stdout is tried again after this time. */
const OUTPUT_RETRY_MS = 5;
/** The last output of a guest waits this long for a reader. */
const DRAIN_MS = 2000;

/** The next step after a turn. */
export type Rest =
  /** Take the next turn. */
  | { readonly kind: 'run' }
  /**
   * The guest waits. Take the next turn when the `wake` word is not `seen` any more, at the latest
   * after `ms`.
   */
  | { readonly kind: 'wfi'; readonly seen: number; readonly ms: number }
  /** Take the next turn when the `request` word is not `request` any more. */
  | { readonly kind: 'stopped'; readonly request: number }
  /** Take no more turns. */
  | { readonly kind: 'exit' };

const RUN: Rest = { kind: 'run' };

export interface VcpuSurroundings {
  readonly shared: VmShared;
  /** Whether the thread may block until a hart that it has lent is back. */
  readonly lends: boolean;
  readonly posted: PostedInterrupts;
  /** Where main looks for the state of a vCPU that has a thread of its own. */
  readonly stopped?: StoppedState | undefined;
  tell(message: VcpuMessage): void;
}

export class Vcpu {
  readonly #machine: Machine;
  readonly #lending: Lending<HartLocalState, HartLocal>;
  readonly #turns: Turns;
  readonly #words = hartWords(OWNER_HART);
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #tell: (message: VcpuMessage) => void;
  readonly #crew: number;
  readonly #publisher: Publisher;
  readonly #posted: PostedInterrupts;
  readonly #stopped: StoppedState | undefined;
  /** There where the guest is recorded or replayed. */
  readonly #recorded: RecordedRun | undefined;
  #running = false;
  /** The last request that main has an answer to: the guest runs under it, or has stopped. */
  #reported = -1;
  /** `wake` before the first of the harts that wait began to. */
  #seen = 0;
  #counted = 0;

  constructor(machine: Machine, { shared, tell, lends, posted, stopped }: VcpuSurroundings) {
    this.#stopped = stopped;
    this.#posted = posted;
    this.#machine = machine;
    this.#lending = new Lending(machine.harts, {
      control: int32s(shared.control),
      server: new FarServer(shared.far, shared.control, machine.shared.bus, machine.shared.semihosting),
      loans: machine.harts.map(({ number }) => new Loan(shared.loans, number)),
    });
    const control = int32s(shared.control);
    const { harts } = machine;
    const { icount, recording } = machine.shared;
    this.#control = control;
    this.#recorded = recording && new RecordedRun(recording, harts, machine.ram);
    this.#turns = icount
      ? new CountedTurns({ harts, icount, control, recording })
      : new FreeTurns({ harts, control, lending: this.#lending, lends });
    this.#counters = float64s(shared.control);
    this.#tell = tell;
    this.#publisher = new Publisher(machine, shared, (reason) => tell({ kind: 'unpublished', reason }));
    this.#crew = crewOnDuty(this.#control);
  }

  /**
   * The machine takes its first state. To be called once, before the first turn. `isGiven`: whoever
   * watches the VMM has it.
   */
  begin(state: InitialState, { isGiven = false } = {}): this {
    if (isGiven) this.#publisher.stateIsGiven();
    if ('harts' in state) this.#machine.restore(state);
    else this.#machine.shared.restoreFunctions(state.pci);
    this.#machine.shared.recording?.begin();
    return this;
  }

  /**
   * Runs one slice, or does what else is requested. Throws errors that no guest can cause, and
   * EPIPE when the host is gone.
   */
  turn(): Rest {
    // The load comes before anything is looked at, so that the vCPU sleeps through no news; pairs
    // with the add in wakeHart.
    const seen = Atomics.load(this.#control, this.#words.wake);
    takeAttention(this.#control, OWNER_HART); // before the look at accesses: a later one calls again
    this.#lending.serve();
    const request = obeyed(this.#control, this.#words.request, this.#crew);
    switch (whatOf(request)) {
      case REQUEST_RUN:
        return this.#asRecorded(request) ?? this.#slice(request, seen);
      case REQUEST_RESET:
        this.#turns.rest(); // real time that has passed comes before the reset in a recording
        this.#recorded?.reset();
        this.#reset(request);
        this.#tell({ kind: 'reset', request: numberOf(request) });
        return RUN;
      case REQUEST_STOP:
        if (this.#reported !== request) this.#stop(request);
        return { kind: 'stopped', request };
      default: // REQUEST_EXIT
        this.#lending.end();
        return { kind: 'exit' };
    }
  }

  /**
   * Brings all harts home and stops the machine's clock. Another vCPU can go on from the state that
   * is returned.
   */
  suspend(): Suspended {
    this.#running = false;
    this.#turns.rest();
    this.#lending.recall();
    this.#posted.rest();
    const { clock, output, input } = this.#machine.shared;
    clock.stop();
    const atNs = monotonicNs();
    this.#publisher.publishAtRest();
    output.flush();
    input.release();
    this.#count(atNs);
    return { atNs, state: this.#machine.save() };
  }

  /** Waits as a turn has said: `wfi`. Only for a thread that may block. */
  wait(seen: number, ms: number): void {
    this.#posted.wait(seen, ms);
  }

  /** A replay does what comes next in the recording; undefined: the guest runs on. */
  #asRecorded(request: number): Rest | undefined {
    const due = this.#recorded?.due({ looked: false });
    if (!due || due === 'look') return undefined;
    if (due === 'over') return this.#replayIsOver(request);
    this.#tellRunning(request, monotonicNs());
    this.#recorded!.reset();
    this.#reset(request);
    this.#tell({ kind: 'reset' });
    return RUN;
  }

  #replayIsOver(request: number): Rest {
    this.#tellRunning(request, monotonicNs());
    this.#stopItself(request);
    this.#tell({ kind: 'replayed', ...this.#recorded!.over });
    return RUN;
  }

  #tellRunning(request: number, atNs: number): void {
    if (this.#reported === request) return;
    this.#reported = request;
    this.#tell({ kind: 'running', request: numberOf(request), atNs });
  }

  /** Runs a slice of one hart. */
  #slice(request: number, seen: number): Rest {
    // asked once: no state is published while a hart is away
    const mayPublish = this.#publisher.wanted;
    const { clock, output, input, finisher } = this.#machine.shared;
    const slice = this.#turns.next(mayPublish);
    if (this.#recorded?.due({ looked: false })) return RUN; // a wait is over: the next turn does what comes then
    if (!this.#turns.someWait) this.#seen = seen;
    if (!this.#running) clock.start();
    slice.hart.timer.update();
    if (slice.looks) {
      this.#machine.shared.update();
      this.#recorded?.look();
      if (this.#recorded?.due({ looked: true })) return this.#lookAgain();
    }
    if (mayPublish) this.#posted.rest();
    else this.#posted.begin();
    this.#publisher.beforeSlice(!this.#running, mayPublish);
    const start = monotonicNs();
    const reason = this.#run(slice);
    if (reason === 'over') return this.#replayIsOver(request);
    const end = monotonicNs();
    this.#running = true;
    const { accessed } = this.#publisher;
    const finish = finisher.take();
    if (finish) this.#publisher.guestHasEnded();
    this.#recorded?.ran();
    if (finish?.kind === 'poweroff') this.#recorded?.end(finish.status);
    this.#publisher.publish();
    this.#tellRunning(request, start);
    if (!accessed || output.due) output.flush();
    input.release();
    if (input.roomWanted()) this.#tell({ kind: 'input-room' });
    if (end - this.#counted > COUNT_EVERY_NS) this.#count(end);
    if (finish?.kind === 'reset') {
      this.#reset(request);
      this.#tell({ kind: 'reset' });
    } else if (finish) {
      output.drain(DRAIN_MS);
      this.#stopItself(request);
      this.#tell(this.#recorded?.replays ? { ...finish, replayed: this.#recorded.over.instructions } : finish);
    } else if (this.#turns.ended(reason, accessed ? undefined : end - start) && !this.#turns.jump()) {
      return this.#wait();
    } else if (output.blocks) {
      return { kind: 'wfi', seen: this.#seen, ms: OUTPUT_RETRY_MS };
    }
    return RUN;
  }

  /** `over`: a replay, in the middle of an instruction. */
  #run(slice: Slice): StopReason | 'over' {
    try {
      return this.#turns.run(slice);
    } catch (error) {
      if (error instanceof RecordingIsOver) return 'over';
      throw error;
    }
  }

  /**
   * A replay: there is more to come before the guest runs on. EIO: it does not come, though it is
   * due.
   */
  #lookAgain(): Rest {
    this.#recorded!.goesOn();
    return RUN;
  }

  /** All harts at home wait. */
  #wait(): Rest {
    const woken = (): boolean => Atomics.load(this.#control, this.#words.wake) !== this.#seen;
    this.#turns.waits();
    if (this.#posted.linger(this.#waitMs(), woken) || this.#posted.sleep()) return RUN;
    return { kind: 'wfi', seen: this.#seen, ms: this.#waitMs() };
  }

  /** How long the harts at home have nothing to do, unless something wakes them. */
  #waitMs(): number {
    const { output } = this.#machine.shared;
    const longest = output.pending ? OUTPUT_RETRY_MS : LONGEST_WFI_MS;
    return Math.min(longest, this.#machine.shared.dueMs() ?? longest, this.#turns.dueMs() ?? longest);
  }

  #reset(request: number): void {
    this.#turns.rest();
    this.#lending.recall();
    this.#posted.rest();
    this.#machine.shared.clock.stop();
    this.#publisher.machineIsReset();
    this.#machine.reset();
    this.#stopItself(request);
  }

  /** Stops the guest; main decides what comes next. A request that main made meanwhile stands. */
  #stopItself(request: number): void {
    const stopped = requestWord(numberOf(request), REQUEST_STOP);
    Atomics.compareExchange(this.#control, this.#words.request, request, stopped);
  }

  #stop(request: number): void {
    this.#reported = request;
    const [number, suspended] = [numberOf(request), this.suspend()];
    const isThere = this.#stopped?.put(number, suspended) ?? false;
    this.#tell({ kind: 'stopped', request: number, suspended: isThere ? undefined : suspended });
  }

  #count(now: number): void {
    this.#counted = now;
    const { icount } = this.#machine.shared;
    if (icount) this.#counters[MachineBlock.word64.icount] = icount.clock.instructions;
    for (const { number, engine, exits } of this.#lending.home) {
      const words = hartWords64(number);
      this.#counters[words.instructions] = Number(engine.save().minstret);
      this.#counters[words.exits] = exits;
    }
  }
}
