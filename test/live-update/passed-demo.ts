/** A host process, and a VMM process whose demo guest has all its devices. */
import { expect } from 'vitest';

import { HostClient } from '../../tools/clients/host-client.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { VmmProcess } from '../vmm/vmm-process.ts';

export interface PassedDemo {
  readonly host: HostProcess;
  readonly board: HostClient;
  readonly vmm: VmmProcess;
  readonly qmp: QmpClient;
}

/** Resolves when the guest is at work. */
export async function startPassedDemo(
  devices: readonly string[],
  { hostOptions = [], vmmOptions = [] }: { hostOptions?: readonly string[]; vmmOptions?: readonly string[] } = {},
): Promise<PassedDemo> {
  const host = await HostProcess.start([...devices], [...hostOptions]);
  const board = new HostClient(host.socket);
  const passed = host.devices.flatMap(({ bdf }) => ['--device', `vfio-pci,host=${bdf}`]);
  const vmm = new VmmProcess('demo', '--host', host.socket, ...passed, ...vmmOptions);
  try {
    await vmm.prints(/demo: .*\n/);
    return { host, board, vmm, qmp: await vmm.monitor() };
  } catch (error) {
    await vmm.end();
    board.close();
    await host.stop();
    throw error;
  }
}

export async function endPassedDemo({ host, board, vmm, qmp }: PassedDemo): Promise<void> {
  qmp.close();
  const left = await vmm.end();
  board.close();
  await host.stop();
  expect(left).toEqual([]);
}
