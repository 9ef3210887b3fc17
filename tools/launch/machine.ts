/**
 * A host process and a VMM process that belong together, and the means to watch and control them.
 */
import { join } from 'node:path';

import { nodeEnv } from '../../platform/node-env.ts';
import { HostClient } from '../clients/host-client.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { Child } from './child.ts';
import { type FrameFacts, GuestConsole, type GuestFacts } from './guest-console.ts';
import { HostProcess, type HostReady } from './host.ts';
import { vmmArgv } from './vmm.ts';

export interface VmmOptions {
  readonly memory: string;
  readonly kernel: string;
  /** Further options of the VMM. */
  readonly vmmOptions?: readonly string[];
  /** The VMM's environment; ours by default. */
  readonly env?: NodeJS.ProcessEnv;
  /** A program that becomes the VMM, with its words. */
  readonly under?: readonly string[];
}

export interface MachineOptions extends VmmOptions {
  /** --device options of the host. */
  readonly devices: readonly string[];
  /** How many of them, the first ones, are passed through; all by default. */
  readonly nrPassed?: number;
  readonly hostOptions?: readonly string[];
}

/** `F`: what its guest counts. */
export class Machine<F extends FrameFacts = GuestFacts> {
  readonly hostSocket: string;
  readonly qmpSocket: string;
  readonly devices: HostReady['devices'];
  readonly vmm: Child;
  readonly console: GuestConsole<F>;
  #host: HostClient;
  #qmp: QmpClient;
  readonly #hostProcess: HostProcess;
  /** Whether another machine's stop() ends the host. */
  readonly #isGuestOfHost: boolean;

  private constructor(hostProcess: HostProcess, devices: HostReady['devices'], vmm: StartedVmm<F>, isFirst: boolean) {
    this.#hostProcess = hostProcess;
    this.#isGuestOfHost = !isFirst;
    this.hostSocket = hostProcess.socket;
    this.qmpSocket = vmm.qmpSocket;
    this.devices = devices;
    this.#host = new HostClient(hostProcess.socket);
    this.vmm = vmm.child;
    this.console = vmm.console;
    this.#qmp = vmm.qmp;
  }

  get host(): HostClient {
    return this.#host;
  }

  get qmp(): QmpClient {
    return this.#qmp;
  }

  /** The host has another kernel, and the VMM another monitor: what there was is of no use. */
  reconnect(qmp: QmpClient): void {
    this.#qmp.close();
    this.#qmp = qmp;
    this.#host = new HostClient(this.hostSocket);
  }

  /** Starts both; on failure nothing is left. */
  static async start<F extends FrameFacts = GuestFacts>(options: MachineOptions): Promise<Machine<F>> {
    const hostProcess = await HostProcess.start(options.devices, options.hostOptions);
    const passed = hostProcess.devices.slice(0, options.nrPassed);
    try {
      return new Machine(hostProcess, passed, await startVmm<F>(hostProcess, passed, 'qmp.sock', options), true);
    } catch (error) {
      await hostProcess.stop();
      throw error;
    }
  }

  /** Starts a second VMM on the host of another machine. It has the devices that are left there. */
  static async beside<F extends FrameFacts>(first: Machine<F>, options: VmmOptions): Promise<Machine<F>> {
    const hostProcess = first.#hostProcess;
    const passed = hostProcess.devices.slice(first.devices.length);
    return new Machine(hostProcess, passed, await startVmm<F>(hostProcess, passed, 'qmp-2.sock', options), false);
  }

  get hostProcess(): Child {
    return this.#hostProcess.child;
  }

  /** The result of `promise`, or a rejection as soon as the VMM ends. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    return this.vmm.whileAlive(promise);
  }

  /**
   * Ends the VMM, then the host, and removes their sockets. The host of another machine goes on.
   */
  async stop(): Promise<void> {
    this.qmp.close();
    await this.vmm.stop();
    try {
      this.host.close();
    } catch {
      // it has ended, and what would be closed with it
    }
    if (!this.#isGuestOfHost) await this.#hostProcess.stop();
  }
}

interface StartedVmm<F extends FrameFacts> {
  readonly child: Child;
  readonly console: GuestConsole<F>;
  readonly qmp: QmpClient;
  readonly qmpSocket: string;
}

/** Starts a VMM with these devices; on failure it is gone again. */
async function startVmm<F extends FrameFacts>(
  { socket: host, dir }: HostProcess,
  devices: HostReady['devices'],
  qmpName: string,
  { memory, kernel, vmmOptions = [], env, under = [] }: VmmOptions,
): Promise<StartedVmm<F>> {
  const qmpSocket = join(dir, qmpName);
  const bdfs = devices.map(({ bdf }) => bdf);
  const argv = [...under, ...vmmArgv({ host, bdfs, memory, kernel, qmp: qmpSocket }), ...vmmOptions];
  const child = new Child({ name: 'the VMM', argv, lifeline: true, env: nodeEnv(env) });
  try {
    const console = new GuestConsole<F>(child.stdout, child.stdin);
    await child.whileAlive(console.greeting); // the monitor listens before the guest runs
    return { child, console, qmp: await QmpClient.connect(qmpSocket), qmpSocket };
  } catch (error) {
    await child.stop();
    throw error;
  }
}
