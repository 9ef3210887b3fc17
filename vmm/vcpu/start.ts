/** Builds a vCPU thread's machine and runs it until the end of the process. */
import { monotonicNs } from '../../platform/clock.ts';
import { SysError } from '../../platform/errno.ts';
import { ConsoleInput } from '../machine/console-input.ts';
import { ConsoleOutput } from '../machine/console-output.ts';
import { InterruptRoutes } from '../machine/interrupt-routes.ts';
import { Machine } from '../machine/machine.ts';
import { PassthroughFunction } from '../machine/passthrough.ts';
import { VfioDevice } from '../vfio/device.ts';
import { TaskChannel } from '../vfio/task-channel.ts';
import { VcpuLoop } from './loop.ts';
import type { VcpuMessage, VcpuSetup, VmShared } from './protocol.ts';

export function startVcpu(shared: VmShared, setup: VcpuSetup, tell: (message: VcpuMessage) => void): void {
  try {
    const machine = buildMachine(shared, setup);
    tell({ kind: 'loaded', atNs: monotonicNs() });
    new VcpuLoop(machine, shared.control, tell).run();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    tell({ kind: 'failed', reason: error.message });
  }
}

function buildMachine(shared: VmShared, { ram, entry, channel, devices, state }: VcpuSetup): Machine {
  const routes = new InterruptRoutes(shared.routes);
  const kernel = new TaskChannel(channel ?? -1);
  const functions = devices.map((description, i) => {
    return new PassthroughFunction(new VfioDevice(description, kernel), routes, state.pci.functions[i]!);
  });
  const machine = new Machine({
    ram,
    entry,
    control: shared.control,
    imsic: shared.imsic,
    input: new ConsoleInput(shared.input),
    output: new ConsoleOutput(),
    functions,
  });
  if ('hart' in state) machine.restore(state);
  return machine;
}
