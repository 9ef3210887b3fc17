/**
 * A virtual machine as the main thread sees it: RAM, devices, the threads that run it, and its run
 * state. Main never waits on a word. Threads answer by message, and a caller waits for a promise
 * with a time-out.
 */
import { einval, eio, SysError } from '../../platform/errno.ts';
import { float64s, int32s } from '../../platform/shared.ts';
import type { InterruptMessage } from '../crew/interrupts/protocol.ts';
import type { MachineParts, VcpuMessage } from '../crew/vcpu/protocol.ts';
import type { StoppedMachine } from '../crew/vcpu/suspended.ts';
import {
  hartCount,
  hartWords64,
  MachineBlock,
  REQUEST_EXIT,
  REQUEST_RUN,
  REQUEST_STOP,
} from '../machine/control/control-block.ts';
import { hartNumbers } from '../machine/hart-local/hart-number.ts';
import { Imsic } from '../machine/hart-local/imsic.ts';
import { InterruptRoutes } from '../machine/shared/interrupt-routes.ts';
import { fillRam, type GuestImage, readGuest } from './guest-image.ts';
import { noteStop } from './rrfile.ts';
import { machinePartsOf, type RunState, type VmParts } from './vm-parts.ts';

/** An event of a VM, in QMP's words. */
export type VmEvent =
  | { readonly event: 'STOP' | 'RESUME' }
  | { readonly event: 'DEVICE_DELETED'; readonly data: { readonly path: string; readonly host: string } }
  | { readonly event: 'RESET' | 'SHUTDOWN'; readonly data: { readonly guest: boolean; readonly reason: string } };

interface Filling {
  /** What the options name; it is read again if absent. */
  readonly image?: GuestImage | undefined;
  /** RAM has never been written. */
  readonly isZero?: boolean;
}

export class Vm {
  readonly parts: VmParts;
  readonly routes: InterruptRoutes;
  /** By hart. */
  readonly imsics: readonly Imsic[];
  readonly #harts: readonly number[];
  readonly #counters: Float64Array;
  readonly #control: Int32Array;
  #runState: RunState;
  /** The state of the machine at rest: only devices change anything. */
  #stopped: StoppedMachine | undefined;
  /** Settles with the last change of the run state. */
  #changed: Promise<unknown> = Promise.resolve();
  readonly #listeners = new Set<(event: VmEvent) => void>();
  readonly #end: (status: number) => void;
  readonly #fail: (error: Error) => void;
  /**
   * Resolves with the exit status when the process must end; rejects when the guest cannot run on.
   */
  readonly ended: Promise<number>;

  constructor(parts: VmParts) {
    const { shared } = parts.vcpu;
    this.parts = parts;
    this.#runState = parts.runState;
    this.routes = new InterruptRoutes(shared.routes);
    const control = int32s(shared.control);
    this.#control = control;
    parts.host?.devices.forEach(({ gone }, device) => {
      if (gone) this.#lose(device);
    });
    this.#harts = hartNumbers(hartCount(shared.control));
    this.imsics = this.#harts.map((hart) => new Imsic(shared.imsic, control, hart));
    this.#counters = float64s(shared.control);
    let settle: { end: (status: number) => void; fail: (error: Error) => void } | undefined;
    this.ended = new Promise((end, fail) => {
      settle = { end, fail };
    });
    this.#end = settle!.end;
    this.#fail = settle!.fail;
    parts.vcpu.listen((message) => this.#take(message));
    parts.interrupts?.listen((message) => this.#takeInterrupts(message));
  }

  get runState(): RunState {
    return this.#runState;
  }

  /** The parts of the machine that a vCPU is built for. */
  get machineParts(): MachineParts {
    return machinePartsOf(this.parts);
  }

  /** Takes the run state of an earlier image. To be called before anything runs. */
  restore({ paused }: { readonly paused: boolean }): void {
    const stopped = this.parts.host?.failure() ? 'internal-error' : 'paused';
    this.#runState = paused ? stopped : 'running';
  }

  listen(listener: (event: VmEvent) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Power-on: resets the machine, fills RAM with `image`, starts the guest unless it shall wait for
   * `cont`.
   */
  powerOn(image: GuestImage | undefined): Promise<void> {
    return this.change(async () => {
      this.parts.interrupts?.request(REQUEST_RUN);
      const isZero = this.parts.options.pkernfs === undefined; // a file there may be older than this VM
      await this.#reset({ image, isZero });
      if (this.parts.options.stopped) this.#runState = 'prelaunch';
      else await this.#run();
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

  /** QMP cont. EINVAL: a device has failed. */
  resume(): Promise<void> {
    return this.change(async () => {
      if (this.#runState === 'internal-error') throw einval('Resetting the Virtual Machine is required');
      if (this.#runState !== 'paused' && this.#runState !== 'prelaunch') return;
      this.#runState = 'running';
      this.#emit({ event: 'RESUME' });
      await this.unquiesce();
    });
  }

  /** QMP system_reset. With -no-reboot it ends the VM, as in QEMU (qemu_system_reset_request). */
  systemReset(): Promise<void> {
    return this.change(async () => {
      const reason = 'host-qmp-system-reset';
      if (this.parts.options.noReboot) {
        this.shutdown(0, reason);
        return;
      }
      this.#emit({ event: 'RESET', data: { guest: false, reason } });
      this.parts.host?.takeFailures();
      if (this.#runState === 'internal-error') this.#runState = 'prelaunch';
      await this.#reset();
      if (this.#runState === 'running') await this.#run();
    });
  }

  /**
   * Runs `work`, which stops the machine or lets it go on, when no other change is under way: one
   * client's `stop` may come in the midst of another's update.
   */
  change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changed.then(work);
    this.#changed = done.catch(() => undefined); // the caller gets the error
    return done;
  }

  /**
   * Within a change: brings all threads to rest. The run state does not change. `sleepMs`: so long
   * this thread sleeps for each of them at most, instead of its event loop. ETIMEDOUT, with
   * everything running again.
   */
  async quiesce({ sleepMs = 0 } = {}): Promise<StoppedMachine> {
    if (this.#stopped) return this.#stopped;
    const { vcpu, interrupts } = this.parts;
    try {
      const parked = interrupts?.park();
      if (sleepMs > 0) interrupts?.hearNow(sleepMs); // first: the guest runs meanwhile
      const stopping = vcpu.stop();
      if (sleepMs > 0) vcpu.hearNow(sleepMs);
      const [stopped] = await Promise.all([stopping, parked]);
      this.#stopped = stopped;
      return stopped;
    } catch (error) {
      interrupts?.request(REQUEST_RUN);
      vcpu.request(REQUEST_RUN);
      throw error;
    }
  }

  /**
   * Within a change, after quiesce: the current vCPU and interrupt threads exit. The machine stays
   * stopped; the next crew takes the requests.
   */
  relieve(): void {
    const { vcpu, interrupts } = this.parts;
    vcpu.relieve();
    interrupts?.request(REQUEST_STOP);
    vcpu.request(REQUEST_STOP);
  }

  /**
   * Within a change: lets the threads go on after quiesce, if the run state is running. Returns the
   * time of the first instruction.
   */
  async unquiesce(): Promise<number | undefined> {
    if (this.#runState !== 'running') return undefined;
    this.parts.interrupts?.request(REQUEST_RUN);
    return this.#run();
  }

  /**
   * Makes the first request less slow, of a VM that has not run: this one changes nothing.
   */
  rehearseRequests(): void {
    this.parts.interrupts?.request(REQUEST_STOP);
    this.parts.vcpu.request(REQUEST_STOP);
  }

  /** Ends the VM: the process must end with this status. */
  shutdown(status: number, reason: string, guest = false): void {
    if (this.#runState === 'shutdown') return;
    this.#runState = 'shutdown';
    this.#emit({ event: 'SHUTDOWN', data: { guest, reason } });
    this.#end(status);
  }

  /**
   * The VM ends, and with it its recording, which is then whole: the guest stands where a replay
   * will.
   */
  async endRecording(): Promise<void> {
    const { recording } = this.parts.backends;
    if (recording?.mode !== 'record') return;
    try {
      const stopped = await this.change(() => this.quiesce());
      noteStop(recording, stopped.state());
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      process.stderr.write(`vmm: rrfile ${recording.path}: a replay may go further: ${error.message}\n`);
    }
  }

  /** Instructions of all harts since the first power-on, up to 100 ms old; 0 without -icount. */
  get icount(): number {
    return this.#counters[MachineBlock.word64.icount]!;
  }

  /** Lets the threads leave their loops, so that the process can end. */
  release(): void {
    this.parts.vcpu.request(REQUEST_EXIT);
    this.parts.interrupts?.request(REQUEST_EXIT);
  }

  /**
   * By hart: instructions retired and accesses outside RAM. The numbers are up to 100 ms old while
   * the guest runs.
   */
  counters(): readonly { readonly instructions: number; readonly exits: number }[] {
    return this.#harts.map((hart) => {
      const { instructions, exits } = hartWords64(hart);
      return { instructions: this.#counters[instructions]!, exits: this.#counters[exits]! };
    });
  }

  #run(): Promise<number> {
    this.#stopped = undefined;
    return this.parts.vcpu.run();
  }

  async #reset(filling: Filling = {}): Promise<void> {
    this.#stopped = undefined;
    await this.parts.vcpu.reset();
    this.#fillRam(filling);
  }

  #take(message: VcpuMessage): void {
    switch (message.kind) {
      case 'reset':
        if (message.request === undefined) this.#guestHasReset();
        break;
      case 'poweroff':
        if (message.replayed !== undefined) {
          const same = 'with the same registers and the same RAM';
          process.stderr.write(
            `vmm: replay: the guest has ended as it was recorded: ${message.replayed} instructions, ${same}\n`,
          );
        }
        this.shutdown(message.status, message.status === 0 ? 'guest-shutdown' : 'guest-panic', true);
        break;
      case 'replayed': {
        const how = message.isCutOff ? ', and its last event is cut off' : '';
        process.stderr.write(`vmm: replay: the recording is over, after ${message.instructions} instructions${how}\n`);
        this.shutdown(0, 'host-error');
        break;
      }
      case 'unpublished':
        process.stderr.write(`vmm: the state is not published any more: ${message.reason}\n`);
        break;
      case 'input-room':
        this.parts.console.refill();
        break;
      case 'failed':
        this.#fail(eio(message.reason));
        break;
    }
  }

  #takeInterrupts(message: InterruptMessage): void {
    switch (message.kind) {
      case 'notice':
        // as PassthroughHost.notices: two for each device
        if (message.notice % 2 === 0) this.#giveBack(message.notice / 2);
        else this.#deviceHasFailed();
        break;
      case 'host-gone':
        this.#fail(eio(`the host at ${this.parts.host?.client.socketPath} is gone`));
        break;
      case 'failed':
        this.#fail(eio(message.reason));
        break;
    }
  }

  /** Nobody asks the device for anything any more. Pairs with the load in crew/vcpu/start.ts. */
  #lose(device: number): void {
    Atomics.or(this.#control, MachineBlock.word.gone, 1 << device);
  }

  /** The host wants a device back. The guest sees it disappear, as by surprise removal. */
  #giveBack(device: number): void {
    const host = this.parts.host!;
    const { bdf } = host.devices[device]!.description;
    this.change(async () => {
      if (this.#runState === 'shutdown' || !host.isAsked(device)) return;
      await this.quiesce();
      try {
        this.#lose(device);
        host.release(device);
      } finally {
        await this.unquiesce();
      }
      process.stderr.write(`vmm: ${bdf}: the host has taken it back\n`);
      this.#emit({ event: 'DEVICE_DELETED', data: { path: `/machine/peripheral-anon/device[${device}]`, host: bdf } });
    }).catch((error: Error) => {
      process.stderr.write(`vmm: ${bdf}: the host wants it back: ${error.message}\n`); // and asks again
    });
  }

  /** As QEMU (vfio_err_notifier_handler): the guest stops, and can only be reset. */
  #deviceHasFailed(): void {
    const host = this.parts.host!;
    this.change(async () => {
      const failed = host.failure();
      if (!failed || this.#runState === 'shutdown' || this.#runState === 'internal-error') return;
      process.stderr.write(`vmm: ${failed.description.bdf}: uncorrectable error: the guest is stopped\n`);
      const ran = this.#runState === 'running';
      if (ran) await this.quiesce();
      this.#runState = 'internal-error';
      if (ran) this.#emit({ event: 'STOP' });
    }).catch(this.#fail);
  }

  /**
   * Acts on a reset by the guest; its machine is at rest. RAM is filled before anything else
   * happens to the machine, because an update may be the next.
   */
  #guestHasReset(): void {
    if (this.parts.options.noReboot) {
      this.shutdown(0, 'guest-reset', true);
      return;
    }
    this.#fillRam();
    this.#emit({ event: 'RESET', data: { guest: true, reason: 'guest-reset' } });
    this.change(async () => {
      if (this.#runState === 'running') await this.#run();
    }).catch(this.#fail);
  }

  /** Fills RAM after a reset. A kernel that cannot be read any more ends the VM. */
  #fillRam({ image, isZero = false }: Filling = {}): void {
    const { options, ram } = this.parts;
    try {
      fillRam(image ?? readGuest(options), new Uint8Array(ram.buffer, 0, ram.length), { isZero });
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #emit(event: VmEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
