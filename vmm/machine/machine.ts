/**
 * The guest's machine as its vCPU thread owns it: hart, bus and every device on it. What survives is one section per owner;
 * RAM survives as the memory object it is.
 */
import type { Engine } from '../../guest/riscv/engine.ts';
import { Hart } from '../../guest/riscv/hart.ts';
import type { HartState } from '../../guest/riscv/state.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list, number } from '../../platform/shape.ts';
import { ControlBlock } from './control/control-block.ts';
import { Imsic } from './hart-local/imsic.ts';
import { bootRom, deviceTreeGpa, RESET_PC } from './shared/boot-rom.ts';
import { SystemBus } from './shared/bus.ts';
import { Clint, type ClintState } from './shared/clint.ts';
import type { ConsoleInput } from './shared/console-input.ts';
import type { ConsoleOutput } from './shared/console-output.ts';
import { ImsicPage } from './shared/imsic-page.ts';
import { CLINT, IMSIC_M, MROM, RAM_BASE, TEST_FINISHER, UART } from './shared/memory-map.ts';
import { PASSTHROUGH_STATE, type PassthroughFunction } from './shared/passthrough.ts';
import { PciHost } from './shared/pci-host.ts';
import { TestFinisher } from './shared/test-finisher.ts';
import { Uart, type UartState } from './shared/uart.ts';

export interface MachineOptions {
  readonly ram: SharedArrayBuffer;
  /** Where the boot ROM jumps to. */
  readonly entry: number;
  /** ControlBlock and ImsicFile. */
  readonly control: SharedArrayBuffer;
  readonly imsic: SharedArrayBuffer;
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  /** The passed-through devices, for slots 1… of the PCI bus. */
  readonly functions: readonly PassthroughFunction[];
}

/** What a vCPU counts beside the hart's own counters: accesses outside RAM. */
export const VCPU_SECTION = defineSection('vcpu', 1, { exits: number });

/** The functions on the PCI bus by slot, from 1. */
export const PCI_SECTION = defineSection('pci', 1, { functions: list(PASSTHROUGH_STATE) });

/** What the vCPU thread owns of the machine's state, by section name. The interrupt file is saved by main. */
export interface MachineState {
  readonly vcpu: StateOf<typeof VCPU_SECTION>;
  readonly hart: HartState;
  readonly clint: ClintState;
  readonly uart: UartState;
  readonly pci: StateOf<typeof PCI_SECTION>;
}

export class Machine {
  readonly hart: Engine & { save(): HartState; restore(state: HartState): void };
  readonly bus = new SystemBus();
  readonly clint: Clint;
  readonly uart: Uart;
  readonly finisher = new TestFinisher();
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  readonly #imsic: Imsic;
  readonly #pci = new PciHost();
  readonly #functions: readonly PassthroughFunction[];

  /** A machine that waits for its first reset, or for the state of another. */
  constructor(options: MachineOptions) {
    const control = new Int32Array(options.control);
    const { lines } = ControlBlock.word;
    this.input = options.input;
    this.output = options.output;
    this.#imsic = new Imsic(options.imsic, control, lines);
    this.clint = new Clint(control, lines);
    this.uart = new Uart(options.input, options.output);
    this.#functions = options.functions;
    for (const fn of options.functions) this.#pci.add(fn);
    this.bus.map(MROM, bootRom(options.entry, deviceTreeGpa(options.ram.byteLength)));
    this.bus.map(TEST_FINISHER, this.finisher);
    this.bus.map(CLINT, this.clint);
    this.bus.map(UART, this.uart);
    this.bus.map(IMSIC_M, new ImsicPage(this.#imsic));
    this.#pci.mapInto(this.bus);
    this.hart = new Hart({
      hartId: 0,
      ram: options.ram,
      ramBase: RAM_BASE,
      bus: this.bus,
      interruptFile: this.#imsic,
      lines: control,
      lineIndex: lines,
      time: () => this.clint.mtime(),
    });
  }

  /** What a power-on leaves; RAM is main's. */
  reset(): void {
    this.#pci.reset();
    this.#imsic.reset();
    this.clint.reset();
    this.uart.reset();
    this.hart.reset(RESET_PC, 0n, 0n);
  }

  save(): MachineState {
    return {
      vcpu: { version: 1, exits: this.bus.accesses },
      hart: this.hart.save(),
      clint: this.clint.save(),
      uart: this.uart.save(),
      pci: { version: 1, functions: this.#functions.map((fn) => fn.save()) },
    };
  }

  /** The functions were made with their state. */
  restore(state: Omit<MachineState, 'pci'>): void {
    this.bus.accesses = state.vcpu.exits;
    this.hart.restore(state.hart);
    this.clint.restore(state.clint);
    this.uart.restore(state.uart);
  }
}
