/** What dies: a vCPU with its machine, run until its guest powers off. It is bundled for that. */
import type { VcpuMessage } from '../../../../vmm/crew/vcpu/protocol.ts';
import { buildVcpu } from '../../../../vmm/crew/vcpu/start.ts';
import type { VmShared } from '../../../../vmm/crew/vm-shared.ts';
import type { RamPart } from '../../../../vmm/machine/hart-local/hart-local.ts';
import type { MachineState } from '../../../../vmm/machine/machine.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';

const noKernel = new Proxy({} as Parameters<typeof buildVcpu>[0]['kernel'], {});

/**
 * The state in which the machine stands after its guest has powered it off; undefined if not.
 * `isGiven`: somebody else has the state that it begins with.
 */
export function runToEnd(
  shared: VmShared,
  ram: RamPart,
  state: MachineState,
  isGiven = false,
): MachineState | undefined {
  let off = false;
  let end: MachineState | undefined;
  const tell = (message: VcpuMessage): void => {
    if (message.kind === 'poweroff') off = true;
    if (message.kind === 'stopped') end = message.suspended?.state;
    if (message.kind === 'failed' || message.kind === 'unpublished') throw new Error(message.reason);
  };
  const parts = { ram, entry: RAM_BASE, devices: [] };
  const vcpu = buildVcpu({ shared, parts, kernel: noKernel, tell }).begin(state, { isGiven });
  for (let turns = 0; turns < 200 && !(off && end); turns++) vcpu.turn();
  return end;
}
