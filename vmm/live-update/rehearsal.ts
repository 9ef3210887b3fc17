/**
 * A machine without a guest. Code that runs for the first time is slow, and all that the pause runs
 * would run for the first time in it: saving, decoding, building a vCPU, publishing its state. So
 * both sides of an update go through all that before the guest is stopped, with a machine of their
 * own.
 */
import { wholeOf } from '../../platform/shared.ts';
import { TaskChannel } from '../client/task-channel.ts';
import { Publication } from '../crew/publication.ts';
import type { InitialState } from '../crew/vcpu/protocol.ts';
import { buildVcpu } from '../crew/vcpu/start.ts';
import { VcpuThread } from '../crew/vcpu/thread.ts';
import type { Vcpu } from '../crew/vcpu/vcpu.ts';
import { createVmShared, type VmShared } from '../crew/vm-shared.ts';
import { REQUEST_RUN } from '../machine/control/control-block.ts';
import type { MachineState } from '../machine/machine.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import { hartsOf } from '../vm/vm-state.ts';
import type { Form } from './releases.ts';
import { encodeState } from './state-file.ts';
import { fdsOf, inForm, saveAll } from './survivors.ts';
import { NO_UPDATE, UPDATE_SECTION } from './update-state.ts';

/** V8 has compiled after so many times what is run so often. Each takes some 0.5 ms. */
const TIMES = 50;
/** Nobody executes anything there but the first instructions, which trap. */
const RAM_BYTES = 1 << 20;
/** The guest's clients are not for this machine. */
const DEAF = { fd: -1, path: '' };
const NO_FUNCTIONS: InitialState = { pci: { version: 2, functions: [] } };

class Rehearsal {
  readonly #vm: Vm;
  readonly #shared: VmShared;
  readonly #ram = wholeOf(new SharedArrayBuffer(RAM_BYTES));

  constructor(vm: Vm) {
    this.#vm = vm;
    this.#shared = createVmShared(hartsOf(vm.parts.options));
    new Publication(this.#shared.publication).wanted = true;
    new VcpuThread(this.#shared).request(REQUEST_RUN);
  }

  /** The state of a machine like the guest's after its first slice, which began from `state`. */
  run(state: InitialState = NO_FUNCTIONS): MachineState {
    const vcpu = this.#vcpu().begin(state);
    vcpu.turn();
    return vcpu.suspend().state;
  }

  /** The state file of such a machine. */
  save(machine: MachineState, form: Form): Uint8Array {
    const update = UPDATE_SECTION.of(NO_UPDATE);
    const sections = saveAll({ vm: this.#vm, machine, monitor: NO_MONITOR, update });
    fdsOf(sections);
    return encodeState(inForm(sections, form));
  }

  #vcpu(): Vcpu {
    const { accel: _, peerBars: __, news: ___, listeners = [], ...parts } = this.#vm.machineParts;
    return buildVcpu({
      ...{ shared: this.#shared, kernel: new TaskChannel(-1), tell: () => {} },
      parts: { ...parts, ram: this.#ram, devices: [], listeners: listeners.map(() => DEAF) },
    });
  }
}

/** The old image's part: `write` gets each state. */
export function rehearseSaving(vm: Vm, form: Form, write: (file: Uint8Array) => void): void {
  const rehearsal = new Rehearsal(vm);
  const machine = rehearsal.run();
  for (let times = 0; times < TIMES; times++) write(rehearsal.save(machine, form));
}

/** The new image's part: `decode` gets a state as the old image writes it. */
export function rehearseLoading(vm: Vm, decode: (file: Uint8Array) => void): void {
  const rehearsal = new Rehearsal(vm);
  let machine = rehearsal.run();
  for (let times = 0; times < TIMES; times++) {
    decode(rehearsal.save(machine, {}));
    machine = rehearsal.run(machine);
    vm.parts.host?.container.checkUpdatable(); // the way into the kernel
  }
}
