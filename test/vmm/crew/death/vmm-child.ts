/**
 * A process with a vCPU thread, to be killed. Guest RAM is fd 3 and the vital signs are fd 4. It
 * gets the machine's state and its interrupt files by message, and says what the vCPU says.
 */
import { fstatSync } from 'node:fs';

import { int32s } from '../../../../platform/shared.ts';
import { startVcpuThread } from '../../../../vmm/crew/threads.ts';
import { VcpuThread } from '../../../../vmm/crew/vcpu/thread.ts';
import { Vitals } from '../../../../vmm/crew/vitals.ts';
import { REQUEST_RUN } from '../../../../vmm/machine/control/control-block.ts';
import type { Accel } from '../../../../vmm/machine/hart-local/hart-local.ts';
import { Imsic, type ImsicState } from '../../../../vmm/machine/hart-local/imsic.ts';
import type { MachineState } from '../../../../vmm/machine/machine.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';
import { mapRam, ramPart } from '../../../../vmm/vm/guest-ram.ts';

const RAM_FD = 3;
const VITALS_FD = 4;

export interface Begin {
  readonly machine: MachineState;
  readonly interruptFile: ImsicState;
  readonly accel: Accel;
}

const ram = mapRam(RAM_FD, fstatSync(RAM_FD).size, 1);
const vitals = Vitals.open(VITALS_FD);
vitals.showJournalBehind(ram);
const { shared } = vitals;
const vcpu = new VcpuThread(shared);
vcpu.listen((message) => process.send?.(message.kind));
process.once('message', ({ machine, interruptFile, accel }: Begin) => {
  new Imsic(shared.imsic, int32s(shared.control), 0).restore(interruptFile);
  startVcpuThread(vcpu, { ram: ramPart(ram), accel, entry: RAM_BASE, devices: [] });
  vcpu.begin(machine);
  vcpu.request(REQUEST_RUN);
});
process.once('disconnect', () => process.exit());
