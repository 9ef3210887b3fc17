/**
 * What the vCPU thread and the interrupt worker do, done by main: so a new image runs the guest as
 * soon as it has it, and starts its threads, which takes longer than all the rest, while the guest
 * runs. They obey the same words and go on from the same state.
 *
 * Main never blocks: each turn is one slice of the guest, some 2 ms at most, between two rounds of
 * the event loop. While the guest waits in WFI or is stopped, main waits on the word that the
 * thread would wait on, without blocking (Atomics.waitAsync); with devices not longer than a
 * millisecond, because nothing tells an event loop of an eventfd. The handles of the threads that
 * are being started keep the loop alive meanwhile.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { SysError } from '../../platform/errno.ts';
import { type FileCalls, TaskChannel } from '../client/task-channel.ts';
import { hartWords } from '../machine/control/control-block.ts';
import { InterruptDispatcher } from './interrupts/dispatcher.ts';
import type { InterruptMessage } from './interrupts/protocol.ts';
import type { InterruptThread } from './interrupts/thread.ts';
import type { InitialState, MachineParts, Suspended, VcpuMessage } from './vcpu/protocol.ts';
import { buildVcpu } from './vcpu/start.ts';
import type { VcpuThread } from './vcpu/thread.ts';
import type { Rest, Vcpu } from './vcpu/vcpu.ts';

/** How long an interrupt may wait for main to look at the eventfds. */
const LOOK_EVERY_MS = 1;
const LONGEST_WAIT_MS = 100;

export interface MainSlicesOptions {
  readonly parts: {
    readonly vcpu: VcpuThread;
    readonly interrupts?: InterruptThread;
    /** With devices; main goes on using its own way into their kernel. */
    readonly host?: { readonly client: FileCalls };
  };
  readonly machineParts: MachineParts;
}

export class MainSlices {
  readonly #control: Int32Array;
  readonly #hart: number;
  readonly #vcpu: Vcpu;
  readonly #dispatcher: InterruptDispatcher | undefined;
  readonly #pass: (message: VcpuMessage) => void;
  /** Said during a turn, and passed on after it: a listener may make a request. */
  readonly #said: VcpuMessage[] = [];
  #ended = false;
  /** When the guest was left in the middle of its work, and the longest time until it went on. */
  #leftNs: number | undefined;
  #longestGapNs = 0;

  /** `of` is the VM, at rest, in this state. */
  constructor(of: MainSlicesOptions, state: InitialState) {
    const { vcpu, interrupts, host } = of.parts;
    const { shared, hart } = vcpu;
    const kernel = host?.client ?? new TaskChannel(-1);
    const tell = (message: VcpuMessage): number => this.#said.push(message);
    this.#control = new Int32Array(shared.control);
    this.#hart = hart;
    this.#vcpu = buildVcpu({ shared, hart, parts: of.machineParts, kernel, state, tell });
    this.#pass = (message) => vcpu.tell(message);
    if (interrupts) {
      const tell = (message: InterruptMessage): void => interrupts.tell(message);
      this.#dispatcher = new InterruptDispatcher(interrupts.input, tell);
    }
  }

  /** The longest time main did something else while the guest wanted to run. */
  get longestGapNs(): number {
    return this.#longestGapNs;
  }

  /** One turn now, the others by the event loop until `end`. */
  turn = (): void => {
    if (this.#ended) return;
    this.#dispatcher?.turn(0);
    this.#schedule(this.#vcpuTurn());
    for (const message of this.#said.splice(0)) this.#pass(message);
  };

  /** No more turns. Another vCPU goes on from this. */
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
    const { wake, request } = hartWords(this.#hart);
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
