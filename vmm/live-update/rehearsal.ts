/**
 * Both sides of an update go through all that the pause will run, before the guest is stopped, with
 * a machine of their own: saving, decoding, building a vCPU, publishing its state. Code that runs
 * for the first time is slow.
 */
import { rehearse } from '../crew/vcpu/rehearsal.ts';
import type { MachineState } from '../machine/machine.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { hartsOf } from '../vm/vm-state.ts';
import type { Form } from './releases.ts';
import { encodeState } from './state-file.ts';
import { fdsOf, inForm, saveAll } from './survivors.ts';
import { NO_UPDATE, UPDATE_SECTION } from './update-state.ts';

/** The state file of such a machine. */
function save(vm: Vm, machine: MachineState, form: Form): Uint8Array {
  const update = UPDATE_SECTION.of(NO_UPDATE);
  const sections = saveAll({ vm, machine, monitor: NO_MONITOR, update });
  fdsOf(sections);
  return encodeState(inForm(sections, form));
}

/** The old image's part: `write` gets each state. */
export function rehearseSaving(vm: Vm, form: Form, write: (file: Uint8Array) => void): void {
  rehearse(vm.machineParts, hartsOf(vm.parts.options), (machine) => write(save(vm, machine, form)));
}

/** The new image's part: `decode` gets a state as the old image writes it. */
export function rehearseLoading(vm: Vm, decode: (file: Uint8Array) => void): void {
  rehearse(vm.machineParts, hartsOf(vm.parts.options), (machine) => {
    decode(save(vm, machine, {}));
    vm.parts.host?.container.checkUpdatable(); // the way into the kernel
  });
}
