/**
 * A vCPU obeys main's request word and runs its hart in slices. It is also the only owner of what
 * all harts share. It never waits itself; it returns what it would wait for. The vCPU thread then
 * blocks (loop.ts); main, which runs the first slices in a new image, returns to its event loop.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { float64s, int32s } from '../../../platform/shared.ts';
import {
  crewOnDuty,
  hartWords,
  hartWords64,
  numberOf,
  obeyed,
  REQUEST_RESET,
  REQUEST_RUN,
  REQUEST_STOP,
  requestWord,
  whatOf,
} from '../../machine/control/control-block.ts';
import type { HartLocal } from '../../machine/hart-local/hart-local.ts';
import type { Machine } from '../../machine/machine.ts';
import { msOf } from '../../machine/shared/clock.ts';
import { Publisher } from '../publisher.ts';
import type { VmShared } from '../vm-shared.ts';
import type { Suspended, VcpuMessage } from './protocol.ts';

/** A slice should take about this long. It bounds how late a stop request or the timer can be. */
const SLICE_NS = 1e6;
const MIN_BUDGET = 512;
/** What translated code can do in about that time; the hart ends a slice of slower code itself. */
const MAX_BUDGET = 1 << 22;
/** A vCPU in WFI looks around by itself after this time, for what happens seldom. */
const LONGEST_WFI_MS = 1000;
/** While the guest waits, a full stdout is tried again after this time. */
const OUTPUT_RETRY_MS = 5;
/** The last output of a guest waits this long for a reader. */
const DRAIN_MS = 2000;
const COUNT_EVERY_NS = 100e6;

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
  tell(message: VcpuMessage): void;
}

export class Vcpu {
  readonly #machine: Machine;
  readonly #hart: HartLocal;
  readonly #words: ReturnType<typeof hartWords>;
  readonly #words64: ReturnType<typeof hartWords64>;
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #tell: (message: VcpuMessage) => void;
  readonly #crew: number;
  readonly #publisher: Publisher;
  #running = false;
  /** The last request that main has an answer to: the guest runs under it, or has stopped. */
  #reported = -1;
  #budget = MIN_BUDGET; // until code is compiled, an instruction takes microseconds
  #counted = 0;

  /** Runs this hart of the machine. */
  constructor(machine: Machine, hart: number, { shared, tell }: VcpuSurroundings) {
    this.#machine = machine;
    this.#hart = machine.harts[hart]!;
    this.#words = hartWords(hart);
    this.#words64 = hartWords64(hart);
    this.#control = int32s(shared.control);
    this.#counters = float64s(shared.control);
    this.#tell = tell;
    this.#publisher = new Publisher(machine, this.#hart, shared, (reason) => tell({ kind: 'unpublished', reason }));
    this.#crew = crewOnDuty(this.#control);
  }

  /**
   * Runs one slice, or does what else is requested. Throws errors that no guest can cause, and
   * EPIPE when the host is gone.
   */
  turn(): Rest {
    // The load comes before anything is looked at, so that the vCPU sleeps through no news; pairs
    // with the add in wakeHart.
    const seen = Atomics.load(this.#control, this.#words.wake);
    const request = obeyed(this.#control, this.#words.request, this.#crew);
    switch (whatOf(request)) {
      case REQUEST_RUN:
        return this.#slice(request, seen);
      case REQUEST_RESET:
        this.#reset(request);
        this.#tell({ kind: 'reset', request: numberOf(request) });
        return RUN;
      case REQUEST_STOP:
        if (this.#reported !== request) this.#stop(request);
        return { kind: 'stopped', request };
      default: // REQUEST_EXIT
        return { kind: 'exit' };
    }
  }

  /** Stops the machine's clock. Another vCPU can go on from the state that is returned. */
  suspend(): Suspended {
    this.#running = false;
    const { clock, output, input } = this.#machine.shared;
    clock.stop();
    const atNs = monotonicNs();
    this.#publisher.publish();
    output.flush();
    input.release();
    this.#count(atNs);
    return { atNs, state: this.#machine.save() };
  }

  #slice(request: number, seen: number): Rest {
    const { engine, timer } = this.#hart;
    const { clock, output, input, finisher } = this.#machine.shared;
    if (!this.#running) clock.start();
    timer.update();
    this.#machine.shared.update();
    this.#publisher.beforeSlice(!this.#running);
    const start = monotonicNs();
    const reason = engine.run(this.#budget);
    const end = monotonicNs();
    this.#running = true;
    const { accessed } = this.#publisher;
    const finish = finisher.take();
    if (finish) this.#publisher.guestHasEnded();
    this.#publisher.publish();
    if (this.#reported !== request) {
      this.#reported = request;
      this.#tell({ kind: 'running', request: numberOf(request), atNs: start });
    }
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
      this.#tell(finish);
    } else if (reason === 'wfi') {
      const limit = output.pending ? OUTPUT_RETRY_MS : LONGEST_WFI_MS;
      const left = timer.ticksLeft(engine.deadline());
      const due = Math.min(this.#machine.shared.dueMs() ?? limit, limit);
      return { kind: 'wfi', seen, ms: left === undefined ? due : Math.min(msOf(left), due) };
    } else if (!accessed) {
      this.#adaptBudget(end - start);
    }
    return RUN;
  }

  /** A slice full of device accesses takes far longer than one of plain instructions. */
  #adaptBudget(tookNs: number): void {
    if (tookNs > 2 * SLICE_NS) this.#budget = Math.max(MIN_BUDGET, this.#budget >> 1);
    else if (tookNs < SLICE_NS / 2) this.#budget = Math.min(MAX_BUDGET, this.#budget << 1);
  }

  #reset(request: number): void {
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
    this.#tell({ kind: 'stopped', request: numberOf(request), ...this.suspend() });
  }

  #count(now: number): void {
    this.#counted = now;
    this.#counters[this.#words64.instructions] = Number(this.#hart.engine.save().minstret);
    this.#counters[this.#words64.exits] = this.#hart.exits;
  }
}
