/** A host process and a VMM process that belong together, with everything needed to watch and steer them. */
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { HostClient } from '../clients/host-client.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { Child } from './child.ts';
import { GuestConsole } from './guest-console.ts';
import { PrivateFolder } from './private-folder.ts';

export interface MachineOptions {
  /** --device options of the host; all of them are passed through. */
  readonly devices: readonly string[];
  readonly memory: string;
  readonly kernel: string;
  /** Further options of the VMM. */
  readonly vmmOptions?: readonly string[];
  readonly hostOptions?: readonly string[];
}

/** What `livevmm host --json` prints when it listens. */
export interface HostReady {
  readonly socket: string;
  readonly devices: readonly { readonly bdf: string; readonly name: string; readonly group: number }[];
}

/** A host process of its own, in a private folder. */
export interface HostProcess extends HostReady {
  readonly dir: string;
  /** Ends it and removes the folder. */
  stop(): Promise<void>;
}

/** Starts `livevmm host` with these --device options and waits until it listens. On failure nothing is left. */
export async function startHostProcess(
  devices: readonly string[],
  options: readonly string[] = [],
): Promise<HostProcess> {
  const folder = new PrivateFolder();
  const dir = folder.path;
  const deviceOptions = devices.flatMap((device) => ['--device', device]);
  const child = new Child('livevmm', [
    'host',
    '--socket',
    join(dir, 'host.sock'),
    '--json',
    '--memlock',
    'unlimited', // a private host's guest may be larger than a plain user's 8 MiB
    ...options,
    ...deviceOptions,
  ]);
  const stop = async (): Promise<void> => {
    await child.stop();
    await folder.remove();
  };
  try {
    const ready = (await child.whileAlive(firstDocument(child))) as HostReady;
    return { ...ready, dir, stop };
  } catch (error) {
    await stop();
    throw error;
  }
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
  static async start({ devices, memory, kernel, vmmOptions = [], hostOptions = [] }: MachineOptions): Promise<Machine> {
    const hostProcess = await startHostProcess(devices, hostOptions);
    const qmpSocket = qmpSocketIn(hostProcess);
    const passed = hostProcess.devices.flatMap(({ bdf }) => ['--device', `vfio-pci,host=${bdf}`]);
    const vmmArguments = [
      '--host',
      hostProcess.socket,
      '-m',
      memory,
      '--kernel',
      kernel,
      ...passed,
      '--qmp',
      qmpSocket,
    ];
    const vmm = new Child('vmm', [...vmmArguments, ...vmmOptions]);
    try {
      const guest = new GuestConsole(vmm.stdout, vmm.stdin);
      await vmm.whileAlive(guest.greeting); // the monitor listens before the guest runs
      const qmp = await QmpClient.connect(qmpSocket);
      return new Machine(hostProcess, new HostClient(hostProcess.socket), vmm, guest, qmp);
    } catch (error) {
      await vmm.stop();
      await hostProcess.stop();
      throw error;
    }
  }

  /** The result of `promise`, or a rejection as soon as the VMM ends. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    return this.vmm.whileAlive(promise);
  }

  /** Ends the VMM, then the host, and removes their sockets. */
  async stop(): Promise<void> {
    this.qmp.close();
    await this.vmm.stop();
    this.host.close();
    await this.#hostProcess.stop();
  }
}

const qmpSocketIn = ({ dir }: HostProcess): string => join(dir, 'qmp.sock');

/** The JSON line that tells that the host listens. */
function firstDocument(child: Child): Promise<unknown> {
  return new Promise((resolve) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line)));
  });
}
