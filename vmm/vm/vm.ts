/**
 * A virtual machine as the main thread sees it: RAM, devices, the threads that run it, and its run state. Main never waits on
 * a word: threads answer by message, and what a caller waits for is a promise with a time-out.
 */
import { eio, etimedout } from '../../platform/errno.ts';
import type { Mapping } from '../../platform/memory.ts';
import type { InterruptMessage } from '../crew/interrupts/protocol.ts';
import type { InterruptThread } from '../crew/interrupts/thread.ts';
import type { MachineParts, Suspended, VcpuMessage } from '../crew/vcpu/protocol.ts';
import type { VcpuThread } from '../crew/vcpu/thread.ts';
import { ControlBlock, REQUEST_EXIT, REQUEST_RESET, REQUEST_RUN, REQUEST_STOP } from '../machine/control-block.ts';
import { Imsic } from '../machine/imsic.ts';
import { InterruptRoutes } from '../machine/interrupt-routes.ts';
import type { PassthroughHost } from '../passthrough/passthrough-host.ts';
import type { Console } from './console.ts';
import { fillRam, readImage } from './guest-image.ts';
import type { VmOptions } from './vm-state.ts';

export type RunState = 'running' | 'paused' | 'shutdown';

/** What happens to a VM, in QMP's words. */
export type VmEvent =
  | { readonly event: 'STOP' | 'RESUME' }
  | { readonly event: 'RESET' | 'SHUTDOWN'; readonly data: { readonly guest: boolean; readonly reason: string } };

export interface VmParts {
  readonly options: VmOptions;
  readonly vcpu: VcpuThread;
  readonly ramFd: number;
  readonly ram: Mapping;
  /** With devices: their host, and who delivers their interrupts. */
  readonly host?: PassthroughHost;
  readonly interrupts?: InterruptThread;
  readonly console: Console;
  /** Images that ran this guest before this one. */
  readonly generation: number;
  /** Where the boot ROM jumps to. */
  readonly entry: number;
  readonly runState: RunState;
}

/** A thread that does not answer in this time is stuck. */
const ANSWER_MS = 5000;

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

export class Vm {
  readonly parts: VmParts;
  readonly routes: InterruptRoutes;
  readonly imsic: Imsic;
  readonly #counters: Float64Array;
  #runState: RunState;
  /** The machine at rest: nobody but devices changes anything. */
  #stopped: Suspended | undefined;
  /** Number of the last request to the vCPU: answers to earlier ones are stale. */
  #request = 0;
  #onRunning: Waiter<number> | undefined;
  #onStopped: Waiter<Suspended> | undefined;
  #onParked: Waiter<void> | undefined;
  #onReset: Waiter<void> | undefined;
  /** Settles with the last change of the run state. */
  #changed: Promise<unknown> = Promise.resolve();
  readonly #listeners = new Set<(event: VmEvent) => void>();
  readonly #ending: Waiter<number>;
  /** The exit status of the process, when it must end; rejected when the guest cannot run on. */
  readonly ended: Promise<number>;

  constructor(parts: VmParts) {
    const { shared } = parts.vcpu;
    this.parts = parts;
    this.#runState = parts.runState;
    this.routes = new InterruptRoutes(shared.routes);
    this.imsic = new Imsic(shared.imsic, new Int32Array(shared.control), ControlBlock.word.lines);
    this.#counters = new Float64Array(shared.control);
    let ending: Waiter<number> | undefined;
    this.ended = new Promise((resolve, reject) => {
      ending = { resolve, reject };
    });
    this.#ending = ending!;
    parts.vcpu.listen((message) => this.#take(message));
    parts.interrupts?.listen((message) => this.#takeInterrupts(message));
  }

  get runState(): RunState {
    return this.#runState;
  }

  /** The machine that a vCPU is built for. */
  get machineParts(): MachineParts {
    const { ram, entry, host } = this.parts;
    return { ram: ram.buffer, entry, devices: host?.devices.map(({ description }) => description) ?? [] };
  }

  listen(listener: (event: VmEvent) => void): void {
    this.#listeners.add(listener);
  }

  /** Power-on: the machine is reset, RAM filled, the guest started. */
  powerOn(): Promise<void> {
    return this.change(async () => {
      this.parts.interrupts?.request(REQUEST_RUN);
      await this.#reset();
      await this.#run();
    });
  }

  /** QMP stop: from running to paused, with the event. */
  pause(): Promise<void> {
    return this.change(async () => {
      if (this.#runState !== 'running') return;
      await this.quiesce();
      this.#runState = 'paused';
      this.#emit({ event: 'STOP' });
    });
  }

  /** QMP cont. */
  resume(): Promise<void> {
    return this.change(async () => {
      if (this.#runState !== 'paused') return;
      this.#runState = 'running';
      this.#emit({ event: 'RESUME' });
      await this.unquiesce();
    });
  }

  /** QMP system_reset. */
  systemReset(): Promise<void> {
    return this.change(async () => {
      this.#emit({ event: 'RESET', data: { guest: false, reason: 'host-qmp-system-reset' } });
      await this.#reset();
      if (this.#runState === 'running') await this.#run();
    });
  }

  /** Does what stops the machine or lets it go on when nobody else does: one client's `stop` may come in the midst of another's update. */
  change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changed.then(work);
    this.#changed = done.catch(() => undefined); // whoever asked is told
    return done;
  }

  /** Within a change: brings all threads to rest; what the run state is stays remembered. ETIMEDOUT, with everything running again. */
  async quiesce(): Promise<Suspended> {
    if (this.#stopped) return this.#stopped;
    try {
      const [stopped] = await Promise.all([this.#stopVcpu(), this.#parkInterrupts()]);
      this.#stopped = stopped;
      return stopped;
    } catch (error) {
      this.#onStopped = undefined;
      this.parts.interrupts?.request(REQUEST_RUN);
      this.#request = this.parts.vcpu.request(REQUEST_RUN);
      throw error;
    }
  }

  /** Within a change, after quiesce: who runs the machine leaves. It stays at rest, and who is made next obeys. */
  relieve(): void {
    const { vcpu, interrupts } = this.parts;
    vcpu.relieve();
    interrupts?.request(REQUEST_STOP);
    this.#request = vcpu.request(REQUEST_STOP);
  }

  /** Within a change: lets the threads go on after quiesce, if the run state is running; when the first instruction was. */
  async unquiesce(): Promise<number | undefined> {
    if (this.#runState !== 'running') return undefined;
    this.parts.interrupts?.request(REQUEST_RUN);
    return this.#run();
  }

  /** The process must end with this status. */
  shutdown(status: number, reason: string, guest = false): void {
    if (this.#runState === 'shutdown') return;
    this.#runState = 'shutdown';
    this.#emit({ event: 'SHUTDOWN', data: { guest, reason } });
    this.#ending.resolve(status);
  }

  /** Lets the threads leave their loops, so that the process can end. */
  release(): void {
    this.parts.vcpu.request(REQUEST_EXIT);
    this.parts.interrupts?.request(REQUEST_EXIT);
  }

  /** Instructions retired and accesses outside RAM; up to 100 ms old while the guest runs. */
  counters(): { readonly instructions: number; readonly exits: number } {
    const { instructions, exits } = ControlBlock.word64;
    return { instructions: this.#counters[instructions]!, exits: this.#counters[exits]! };
  }

  async #run(): Promise<number> {
    this.#stopped = undefined;
    return answer('vCPU', 'run', (waiter) => {
      this.#onRunning = waiter;
      this.#request = this.parts.vcpu.request(REQUEST_RUN);
    });
  }

  async #stopVcpu(): Promise<Suspended> {
    return answer('vCPU', 'stop', (waiter) => {
      this.#onStopped = waiter;
      this.#request = this.parts.vcpu.request(REQUEST_STOP);
    });
  }

  async #reset(): Promise<void> {
    return answer('vCPU', 'reset', (waiter) => {
      this.#onReset = waiter;
      this.#request = this.parts.vcpu.request(REQUEST_RESET);
    });
  }

  async #parkInterrupts(): Promise<void> {
    const { interrupts } = this.parts;
    if (!interrupts) return undefined;
    return answer('interrupt worker', 'stop', (waiter) => {
      this.#onParked = waiter;
      interrupts.request(REQUEST_STOP);
    });
  }

  #take(message: VcpuMessage): void {
    switch (message.kind) {
      case 'running':
        this.#onRunning?.resolve(message.atNs);
        break;
      case 'stopped':
        if (message.request !== this.#request) break;
        if (this.#runState === 'paused') this.#stopped = message; // reset in between, or paused from the start
        this.#onStopped?.resolve(message);
        this.#onStopped = undefined;
        break;
      case 'reset':
        this.#fillRam();
        break;
      case 'poweroff':
        this.shutdown(message.status, message.status === 0 ? 'guest-shutdown' : 'guest-panic', true);
        break;
      case 'input-room':
        this.parts.console.refill();
        break;
      case 'failed':
        this.#ending.reject(eio(message.reason));
        break;
    }
  }

  #takeInterrupts(message: InterruptMessage): void {
    switch (message.kind) {
      case 'parked':
        this.#onParked?.resolve();
        break;
      case 'host-gone':
        this.#ending.reject(eio(`the host at ${this.parts.host?.client.socketPath} is gone`));
        break;
      case 'failed':
        this.#ending.reject(eio(message.reason));
        break;
    }
  }

  /** The machine was reset, by us or by the guest. */
  #fillRam(): void {
    const { options, ram } = this.parts;
    try {
      fillRam(readImage(options.kernel, ram.length), new Uint8Array(ram.buffer, 0, ram.length));
    } catch (error) {
      this.#ending.reject(error as Error);
      return;
    }
    if (this.#onReset) {
      this.#onReset.resolve();
      this.#onReset = undefined;
      return;
    }
    this.#emit({ event: 'RESET', data: { guest: true, reason: 'guest-reset' } });
    if (this.#runState === 'running' && !this.#onStopped) this.#run().catch((error) => this.#ending.reject(error));
  }

  #emit(event: VmEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** What `ask` makes a thread answer, within ANSWER_MS. */
async function answer<T>(who: string, what: string, ask: (waiter: Waiter<T>) => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      timer = setTimeout(() => reject(etimedout(`the ${who} did not ${what} within ${ANSWER_MS} ms`)), ANSWER_MS);
      ask({ resolve, reject });
    });
  } finally {
    clearTimeout(timer);
  }
}
