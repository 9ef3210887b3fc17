/**
 * A machine like the guest's, without a guest: a vCPU goes through a life there. Code that runs for
 * the first time is slow, and a vCPU that goes on after an update would run all of it in the pause.
 */
import { wholeOf } from '../../../platform/shared.ts';
import type { FileCalls } from '../../client/task-channel.ts';
import { REQUEST_RUN } from '../../machine/control/control-block.ts';
import type { MachineState } from '../../machine/machine.ts';
import { MsiCapability } from '../../machine/shared/msi-capability.ts';
import type { PassthroughState } from '../../machine/shared/passthrough.ts';
import { NO_FILE } from '../../machine/shared/replay/recording.ts';
import { PCI_SECTION } from '../../machine/shared/shared-machine.ts';
import { Publication } from '../publication.ts';
import { createVmShared, type VmShared } from '../vm-shared.ts';
import type { InitialState, MachineParts } from './protocol.ts';
import { buildVcpu } from './start.ts';
import { VcpuThread } from './thread.ts';
import type { Vcpu } from './vcpu.ts';

/** V8 has compiled after so many times what is run so often. Each takes some 0.5 ms. */
const TIMES = 50;
/** Nobody executes anything there but the first instructions, which trap. */
const RAM_BYTES = 1 << 20;
/** The guest's clients, and its interrupts, are not for this machine. */
const DEAF = { fd: -1, path: '', reconnectMs: 0 };
/** No device is behind its functions. */
const NOBODY: FileCalls = {
  ioctl: () => 0,
  ioctls() {},
  pread: (_, __, into) => into.length,
  pwrite: (_, __, data) => data.length,
};
const COMMAND_MEMORY = 1 << 1; // PCI 3.0 §6.2.2
const MSI_OFFSET = 0x40;
const CAP_ID_MSI = 5;

class RehearsedMachine {
  readonly #parts: MachineParts;
  readonly #shared: VmShared;
  readonly #ram = wholeOf(new SharedArrayBuffer(RAM_BYTES));

  /** `parts` are those of the guest's machine. */
  constructor(parts: MachineParts, harts: number) {
    this.#parts = parts;
    this.#shared = createVmShared(harts);
    new Publication(this.#shared.publication).wanted = true;
    new VcpuThread(this.#shared).request(REQUEST_RUN);
  }

  /** The state after the machine's first slice, which began from `state`. */
  run(state: InitialState = this.#programmed()): MachineState {
    const vcpu = this.#vcpu().begin(state);
    vcpu.turn();
    return vcpu.suspend().state;
  }

  #vcpu(): Vcpu {
    const { accel: _, peerBars: __, news: ___, intx: ____, listeners = [], recording, ...parts } = this.#parts;
    return buildVcpu({
      ...{ shared: this.#shared, kernel: NOBODY, tell: () => {} },
      parts: {
        ...{ ...parts, ram: this.#ram, listeners: listeners.map(() => DEAF) },
        recording: recording && { ...recording, fd: NO_FILE },
      },
    });
  }

  /** Functions as a guest's driver leaves them. */
  #programmed(): InitialState {
    const functions = this.#parts.devices.map(({ bdf, config, bars }): PassthroughState => {
      const layout = bars.map(({ size }) => ({ size, flags: 0 }));
      const msi = MsiCapability.fromDevice(MSI_OFFSET, CAP_ID_MSI).save();
      const facts = { bdf, configSize: config.size, layout, msi, msix: null, rom: null, routes: [] };
      return { version: 3, ...facts, command: COMMAND_MEMORY, bars: bars.map(() => 0), armed: false };
    });
    return { pci: PCI_SECTION.of({ functions }) };
  }
}

/** A machine that goes through all that a vCPU does, again and again. */
export class Rehearsal {
  readonly #machine: RehearsedMachine;
  readonly #live: (machine: MachineState) => void;
  #state: MachineState;

  /**
   * `parts` are those of the guest's machine. `live` gets each state; the machine goes on from it.
   */
  constructor(parts: MachineParts, harts: number, live: (machine: MachineState) => void = () => {}) {
    this.#machine = new RehearsedMachine(parts, harts);
    this.#live = live;
    this.#state = this.#machine.run();
  }

  /** By default so often that V8 has compiled all of it. */
  go(times = TIMES): this {
    for (let done = 0; done < times; done++) {
      this.#live(this.#state);
      this.#state = this.#machine.run(this.#state);
    }
    return this;
  }
}
