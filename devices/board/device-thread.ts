/**
 * One device worker as the board sees it. The board starts, halts, resumes and stops the worker
 * here, and learns here of its death.
 */
import type { MessagePort, Worker } from 'node:worker_threads';
import type { PciFunction } from '../../iommu/bus/pci-function.ts';
import { closePeerBox } from '../../iommu/bus/peer-cycles.ts';
import { releaseAgent } from '../../iommu/hardware/epoch.ts';
import { etimedout } from '../../platform/errno.ts';
import { ringBell } from '../../platform/mailbox.ts';
import { OwnedThread } from '../../platform/owned-thread.ts';
import { CONTROL_BYTES, DeviceControl, type DeviceState, HALTED, RUNNING, STOPPED } from '../kit/control.ts';
import type { DeviceMessage, DeviceWorkerData } from '../kit/protocol.ts';
import { startDeviceWorker } from './early-threads.ts';

const START_MS = 30_000; // a loaded machine, and tsx
const REACT_MS = 5000;
const STOP_MS = 2000;

export interface DevicePlan {
  readonly function: PciFunction;
  /** The data that only this worker gets; the thread adds the rest. */
  readonly data: Omit<
    DeviceWorkerData,
    | 'bdf'
    | 'control'
    | 'mailbox'
    | 'intx'
    | 'counters'
    | 'timeline'
    | 'barGate'
    | 'peerBox'
    | 'registerPages'
    | 'physicalPort'
  >;
  readonly physicalPort: MessagePort;
  /** Called when the worker has ended without a request. */
  readonly onFailure: (reason: string) => void;
}

export class DeviceThread {
  readonly control: DeviceControl;
  readonly controlPage = new SharedArrayBuffer(CONTROL_BYTES);
  readonly #plan: DevicePlan;
  readonly #thread: OwnedThread;
  readonly #watchers = new Set<() => void>();
  failure: string | undefined;

  /** `early`: a thread that has been started. */
  constructor(plan: DevicePlan, early?: Worker) {
    this.#plan = plan;
    const control = this.controlPage;
    this.control = new DeviceControl(control);
    const { bdf, name, mailbox, intx, counters, timeline, barGate, peerBox, registerPages } = plan.function;
    const { physicalPort } = plan;
    const shared = { mailbox, intx, counters, timeline, barGate, peerBox, registerPages, control };
    const data: DeviceWorkerData = { ...plan.data, ...shared, bdf, physicalPort };
    const transferList = [physicalPort, ...(data.mediated ? [data.mediated.port] : [])];
    const worker = early ?? startDeviceWorker(`${name} ${bdf.toString(16)}`);
    worker.ref();
    worker.postMessage(data, transferList);
    this.#thread = new OwnedThread(worker);
    worker.on('message', (_: DeviceMessage) => this.#wakeWatchers());
    worker.on('error', (error) => this.#fail(error instanceof Error ? error.message : String(error)));
    worker.on('exit', () => this.#ended());
  }

  #fail(reason: string): void {
    if (this.failure !== undefined || this.#thread.stopping) return;
    this.failure = reason;
    this.#plan.onFailure(reason);
  }

  /**
   * Cleans up after the worker. Its transactions ended with it, so a fence must not wait for them.
   * Accesses to its mailbox time out from now on, and those of other devices are refused.
   */
  #ended(): void {
    const { unit, agent, bells } = this.#plan.data;
    if (unit) releaseAgent(unit, agent);
    closePeerBox(this.#plan.function.peerBox, bells);
    this.control.setState(STOPPED);
    this.#fail('its worker has ended');
    this.#wakeWatchers();
  }

  #wakeWatchers(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Waits until the worker's state is one of `states`; false after timeoutMs. Woken by its messages
   * and by its end.
   */
  #reach(states: readonly DeviceState[], timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (reached: boolean): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve(reached);
      };
      const look = (): void => {
        if (states.includes(this.control.state())) settle(true);
      };
      const timer = setTimeout(() => settle(false), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Resolves when the worker serves its mailbox. Throws what went wrong. */
  async started(): Promise<void> {
    const reached = await this.#reach([RUNNING, STOPPED], START_MS);
    if (this.failure !== undefined) throw new Error(`${this.#plan.function.name}: ${this.failure}`);
    if (!reached) throw etimedout(`${this.#plan.function.name}: its worker does not start`);
  }

  /**
   * Halts the device's own work, or resumes it. When a halt resolves, nothing is under way;
   * registers go on answering.
   */
  async halt(on: boolean): Promise<void> {
    this.control.requestHalt(this.#plan.function.mailbox, on);
    // A resume waits for RUNNING: otherwise a halt right after it would take the old HALTED for its
    // own.
    if (await this.#reach([on ? HALTED : RUNNING, STOPPED], REACT_MS)) return;
    throw etimedout(`${this.#plan.function.name}: its worker does not react`);
  }

  /** Makes the worker look at its memory port. */
  nudge(): void {
    ringBell(this.#plan.function.mailbox);
  }

  /** Ends the thread: first by a request, then by force. */
  stop(): Promise<void> {
    return this.#thread.stop(() => this.control.requestStop(this.#plan.function.mailbox), STOP_MS);
  }
}
