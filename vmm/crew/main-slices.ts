/**
 * Main does the work of the vCPU thread and the interrupt thread for a while. So a new image runs
 * the guest as soon as it has the guest's state. The threads start while the guest runs, because
 * their start takes longer than all the rest. So long main mostly interprets: what a translator
 * needs would hold the guest up. Main and the threads obey the same words and go on from the same
 * state.
 *
 * Main never blocks. Each turn is one slice of the guest, some 2 ms at most, between two rounds of
 * the event loop. While the guest waits in WFI or is stopped, main waits on the word that the
 * thread would wait on, without blocking (Atomics.waitAsync). With devices main waits no longer
 * than a millisecond, because nothing tells an event loop of an eventfd. The handles of the threads
 * that are being started, or a timer before, keep the loop alive meanwhile.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { SysError } from '../../platform/errno.ts';
import { int32s } from '../../platform/shared.ts';
import { type FileCalls, TaskChannel } from '../client/task-channel.ts';
import { hartWords, OWNER_HART } from '../machine/control/control-block.ts';
import { lateTranslator } from '../machine/hart-local/hart-local.ts';
import { InterruptDispatcher } from './interrupts/dispatcher.ts';
import type { InterruptMessage } from './interrupts/protocol.ts';
import type { InterruptThread } from './interrupts/thread.ts';
import type { InitialState, MachineParts, VcpuMessage } from './vcpu/protocol.ts';
import { buildVcpu } from './vcpu/start.ts';
import type { Suspended } from './vcpu/suspended.ts';
import type { VcpuThread } from './vcpu/thread.ts';
import type { Rest, Vcpu } from './vcpu/vcpu.ts';

/** How long an interrupt may wait until main looks at the eventfds. */
const LOOK_EVERY_MS = 1;
const LONGEST_WAIT_MS = 100;

export interface MainSlicesOptions {
  readonly parts: {
    readonly vcpu: VcpuThread;
    readonly interrupts?: InterruptThread;
    /** Present with devices: main goes on using its own way into their kernel. */
    readonly host?: { readonly client: FileCalls };
  };
  readonly machineParts: MachineParts;
}

export class MainSlices {
  readonly #control: Int32Array;
  readonly #vcpu: Vcpu;
  readonly #dispatcher: InterruptDispatcher | undefined;
  readonly #pass: (message: VcpuMessage) => void;
  /** Messages of this turn. They are passed on after it, because a listener may make a request. */
  readonly #said: VcpuMessage[] = [];
  #ended = false;
  /** When the guest was left in the middle of its work, and the longest time until it went on. */
  #leftNs: number | undefined;
  #longestGapNs = 0;

  /** `of` is the VM. Nothing runs before `begin`. */
  constructor(of: MainSlicesOptions) {
    const { vcpu, interrupts, host } = of.parts;
    const { shared } = vcpu;
    const kernel = host?.client ?? new TaskChannel(-1);
    const tell = (message: VcpuMessage): number => this.#said.push(message);
    this.#control = int32s(shared.control);
    const { machineParts: parts } = of;
    const translator = lateTranslator(OWNER_HART, parts.ram);
    this.#vcpu = buildVcpu({ shared, parts, kernel, translator, tell });
    this.#pass = (message) => vcpu.tell(message);
    if (interrupts) {
      const tell = (message: InterruptMessage): void => interrupts.tell(message);
      this.#dispatcher = new InterruptDispatcher(interrupts.input, tell);
    }
  }

  /** The machine takes its first state; it is at rest. `isGiven` as in Vcpu.begin. */
  begin(state: InitialState, how: { readonly isGiven?: boolean } = {}): this {
    this.#vcpu.begin(state, how);
    return this;
  }

  /** The longest time in which main did something else while the guest wanted to run. */
  get longestGapNs(): number {
    return this.#longestGapNs;
  }

  /** Takes one turn now; the event loop takes the others until `end`. */
  turn = (): void => {
    if (this.#ended) return;
    const rest = this.#vcpuTurn(); // first: nothing comes before the guest's first instruction
    this.#dispatcher?.turn(0);
    this.#schedule(rest);
    for (const message of this.#said.splice(0)) this.#pass(message);
  };

  /** Ends the turns. Another vCPU goes on from the state that is returned. */
  end(): Suspended {
    this.#ended = true;
    const suspended = this.#vcpu.suspend();
    for (const message of this.#said.splice(0)) this.#pass(message);
    return suspended;
  }

  #vcpuTurn(): Rest {
    const now = monotonicNs();
    if (this.#leftNs !== undefined) this.#longestGapNs = Math.max(this.#longestGapNs, now - this.#leftNs);
    this.#leftNs = undefined;
    try {
      const rest = this.#vcpu.turn();
      if (rest.kind === 'run') this.#leftNs = monotonicNs();
      return rest;
    } catch (error) {
      const { message, stack } = error as Error;
      this.#said.push({ kind: 'failed', reason: error instanceof SysError ? message : (stack ?? message) });
      return { kind: 'exit' };
    }
  }

  #schedule(rest: Rest): void {
    const { wake, request } = hartWords(OWNER_HART);
    switch (rest.kind) {
      case 'run':
        setImmediate(this.turn);
        break;
      case 'wfi':
        this.#turnWhenChanged(wake, rest.seen, rest.ms); // pairs with the add in wakeHart
        break;
      case 'stopped':
        // pairs with the store in MachineThread.ask
        this.#turnWhenChanged(request, rest.request, LONGEST_WAIT_MS);
        break;
      case 'exit':
        break;
    }
  }

  #turnWhenChanged(word: number, from: number, ms: number): void {
    const longestMs = this.#dispatcher ? LOOK_EVERY_MS : LONGEST_WAIT_MS;
    const waiting = Atomics.waitAsync(this.#control, word, from, Math.min(ms, longestMs));
    if (waiting.async) void waiting.value.then(this.turn);
    else setImmediate(this.turn);
  }
}
