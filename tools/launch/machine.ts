/**
 * A host process and a VMM process that belong together, and the means to watch and control them.
 */
import { join } from 'node:path';

import { HostClient } from '../clients/host-client.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { Child } from './child.ts';
import { GuestConsole } from './guest-console.ts';
import { HostProcess, type HostReady } from './host.ts';
import { vmmArgv } from './vmm.ts';

export interface MachineOptions {
  /** --device options of the host; all of them are passed through. */
  readonly devices: readonly string[];
  readonly memory: string;
  readonly kernel: string;
  /** Further options of the VMM. */
  readonly vmmOptions?: readonly string[];
  readonly hostOptions?: readonly string[];
  /** The VMM's environment; ours by default. */
  readonly env?: NodeJS.ProcessEnv;
}

export class Machine {
  readonly hostSocket: string;
  readonly qmpSocket: string;
  readonly devices: HostReady['devices'];
  readonly vmm: Child;
  readonly console: GuestConsole;
  readonly host: HostClient;
  readonly qmp: QmpClient;
  readonly #hostProcess: HostProcess;

  private constructor(hostProcess: HostProcess, host: HostClient, vmm: Child, guest: GuestConsole, qmp: QmpClient) {
    this.#hostProcess = hostProcess;
    this.hostSocket = hostProcess.socket;
    this.qmpSocket = qmpSocketIn(hostProcess);
    this.devices = hostProcess.devices;
    this.host = host;
    this.vmm = vmm;
    this.console = guest;
    this.qmp = qmp;
  }

  /** Starts both; on failure nothing is left. */
  static async start(options: MachineOptions): Promise<Machine> {
    const { devices, memory, kernel, vmmOptions = [], hostOptions = [], env } = options;
    const hostProcess = await HostProcess.start(devices, hostOptions);
    const { socket: host } = hostProcess;
    const qmpSocket = qmpSocketIn(hostProcess);
    const bdfs = hostProcess.devices.map(({ bdf }) => bdf);
    const argv = [...vmmArgv({ host, bdfs, memory, kernel, qmp: qmpSocket }), ...vmmOptions];
    const vmm = new Child({ name: 'the VMM', argv, lifeline: true, ...(env ? { env } : {}) });
    try {
      const guest = new GuestConsole(vmm.stdout, vmm.stdin);
      await vmm.whileAlive(guest.greeting); // the monitor listens before the guest runs
      const qmp = await QmpClient.connect(qmpSocket);
      return new Machine(hostProcess, new HostClient(host), vmm, guest, qmp);
    } catch (error) {
      await vmm.stop();
      await hostProcess.stop();
      throw error;
    }
  }

  get hostProcess(): Child {
    return this.#hostProcess.child;
  }

  /** The result of `promise`, or a rejection as soon as the VMM ends. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    return this.vmm.whileAlive(promise);
  }

  /** Ends the VMM, then the host, and removes their sockets. */
  async stop(): Promise<void> {
    this.qmp.close();
    await this.vmm.stop();
    try {
      this.host.close();
    } catch {
      // it has ended, and what would be closed with it
    }
    await this.#hostProcess.stop();
  }
}

const qmpSocketIn = ({ dir }: HostProcess): string => join(dir, 'qmp.sock');
