/**
 * Both sides of an update go through all that the pause will run, before the guest is stopped, with
 * a machine of their own: saving, reading, restoring, building a vCPU, publishing its state. Code
 * that runs for the first time is slow, and so is code that ran last some seconds ago.
 */
import { close } from '../../platform/libc/fd.ts';
import { memfdCreate } from '../../platform/libc/memfd.ts';
import { writeAll } from '../../platform/whole-file.ts';
import { Rehearsal } from '../crew/vcpu/rehearsal.ts';
import type { MachineState } from '../machine/machine.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { hartsOf } from '../vm/vm-state.ts';
import type { Form } from './releases.ts';
import { encodeState } from './state-file.ts';
import { fdsOf, inForm, saveAll } from './survivors.ts';
import { NO_UPDATE, UPDATE_SECTION } from './update-state.ts';

/** So often just before the pause. More would only make V8 compile beside it. */
const ONCE_MORE = 1;

/** The state file of such a machine. */
function save(vm: Vm, machine: MachineState, form: Form): Uint8Array {
  const update = UPDATE_SECTION.of(NO_UPDATE);
  const sections = saveAll({ vm, machine, monitor: NO_MONITOR, update });
  fdsOf(sections);
  return encodeState(inForm(sections, form));
}

/** One side's rehearsal, with a state file that nobody else reads. */
export class StateRehearsal {
  readonly #fd = memfdCreate('livevmm-rehearsal');
  readonly #rehearsal: Rehearsal;

  private constructor(vm: Vm, live: (machine: MachineState, fd: number) => void) {
    try {
      this.#rehearsal = new Rehearsal(vm.machineParts, hartsOf(vm.parts.options), (machine) => live(machine, this.#fd));
      this.#rehearsal.go();
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** The old image saves. */
  static ofSaving(vm: Vm, form: Form): StateRehearsal {
    return new StateRehearsal(vm, (machine, fd) => writeAll(fd, save(vm, machine, form)));
  }

  /** The new image reads what the old one writes: `load` gets that file. */
  static ofLoading(vm: Vm, load: (fd: number) => void): StateRehearsal {
    let written = false;
    return new StateRehearsal(vm, (machine, fd) => {
      if (!written) writeAll(fd, save(vm, machine, {}));
      written = true;
      load(fd);
      vm.parts.host?.container.checkUpdatable(); // the way into the kernel
    });
  }

  /** The pause comes now. */
  onceMore(): void {
    this.#rehearsal.go(ONCE_MORE);
  }

  end(): void {
    close(this.#fd);
  }
}
