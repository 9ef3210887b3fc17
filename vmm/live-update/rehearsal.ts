/**
 * Both sides of an update go through all that the pause will run, before the guest is stopped, with
 * a machine of their own: saving, reading, restoring, building a vCPU, publishing its state. Code
 * that runs for the first time is slow, and so is code that ran last some seconds ago.
 */
import { close } from '../../platform/libc/fd.ts';
import { memfdCreate } from '../../platform/libc/memfd.ts';
import { packBodies, packSections } from '../../platform/packed-sections.ts';
import { writeAll } from '../../platform/whole-file.ts';
import { Rehearsal } from '../crew/vcpu/rehearsal.ts';
import type { MachineState } from '../machine/machine.ts';
import { sectionsOfMachine } from '../machine/machine-sections.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { hartsOf } from '../vm/vm-state.ts';
import type { Form } from './releases.ts';
import { encodeState } from './state-file.ts';
import { type FromMain, fdsOf, inForm, saveAll } from './survivors.ts';
import { type Manner, StateAhead } from './transferred-state.ts';
import { NO_UPDATE, UPDATE_SECTION } from './update-state.ts';

/** So often just before the pause. More would only make V8 compile beside it. */
const ONCE_MORE = 1;

const UPDATE = UPDATE_SECTION.of(NO_UPDATE);
const FROM_MAIN: FromMain = { monitor: NO_MONITOR, update: UPDATE };
const AS_THEY_ARE: Manner = { form: {}, lost: [], hasOwner: false };

/** The state file of such a machine. */
function save(vm: Vm, machine: MachineState, form: Form): Uint8Array {
  const sections = saveAll({ vm, machine, ...FROM_MAIN });
  fdsOf(sections);
  return encodeState(inForm(sections, form));
}

/** What of it goes in the pause. */
function saveRest(ahead: StateAhead, state: MachineState): Uint8Array {
  const packed = packSections(packBodies(sectionsOfMachine(state)));
  const { file } = ahead.rest({ state: () => state, packed }, FROM_MAIN);
  return file;
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

  /** The old image saves for an exec. */
  static ofSaving(vm: Vm, form: Form): StateRehearsal {
    return new StateRehearsal(vm, (machine, fd) => writeAll(fd, save(vm, machine, form)));
  }

  /** The old image saves for a transfer. */
  static ofTransfer(vm: Vm, manner: Manner): StateRehearsal {
    const ahead = new StateAhead(vm, manner);
    return new StateRehearsal(vm, (machine, fd) => writeAll(fd, saveRest(ahead, machine)));
  }

  /** A guardian reads what an image writes: `load` gets that file. */
  static ofLoading(vm: Vm, load: (fd: number) => void): StateRehearsal {
    return StateRehearsal.#ofReading(vm, (machine) => save(vm, machine, {}), load);
  }

  /** A successor reads what the old image writes: `ahead` gets the part that comes before. */
  static ofTakingOver(
    vm: Vm,
    { ahead, load }: { ahead(sections: Uint8Array): void; load(fd: number): void },
  ): StateRehearsal {
    const before = new StateAhead(vm, AS_THEY_ARE);
    ahead(before.file);
    return StateRehearsal.#ofReading(vm, (machine) => saveRest(before, machine), load);
  }

  static #ofReading(vm: Vm, save: (machine: MachineState) => Uint8Array, load: (fd: number) => void): StateRehearsal {
    let written = false;
    return new StateRehearsal(vm, (machine, fd) => {
      if (!written) writeAll(fd, save(machine));
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
