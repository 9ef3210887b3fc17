/**
 * The part of the machine that all harts share: the bus with its devices, and the clock. One thread
 * owns it: the vCPU of OWNER_HART, or main in its place (crew/main-slices.ts). So devices keep
 * plain fields. Only the CLINT and the interrupt files have registers in shared words, and the
 * thread of any hart may reach them.
 */
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { list } from '../../../platform/shape.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { wakeHart } from '../control/control-block.ts';
import type { Imsic } from '../hart-local/imsic.ts';
import type { Timer } from '../hart-local/timer.ts';
import { bootRom, deviceTreeGpa } from './boot-rom.ts';
import { SystemBus } from './bus.ts';
import { Clint } from './clint.ts';
import { Clock } from './clock.ts';
import type { ConsoleInput } from './console-input.ts';
import type { ConsoleOutput } from './console-output.ts';
import { ImsicPage } from './imsic-page.ts';
import { CLINT, imsicPage, MROM, TEST_FINISHER, UART } from './memory-map.ts';
import { PASSTHROUGH_STATE, type PassthroughFunction } from './passthrough.ts';
import { PciHost } from './pci-host.ts';
import { TestFinisher } from './test-finisher.ts';
import { Uart, type UartState } from './uart.ts';

/** The functions on the PCI bus by slot, from 1. */
export const PCI_SECTION = defineSection('pci', 1, { functions: list(PASSTHROUGH_STATE) });

export interface SharedState {
  readonly uart: UartState;
  readonly pci: StateOf<typeof PCI_SECTION>;
}

export interface SharedMachineOptions {
  readonly ramSize: number;
  /** The address that the boot ROM jumps to. */
  readonly entry: number;
  /** MachineBlock and HartBlocks. */
  readonly control: SharedPart;
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  /** The passed-through devices, for slots 1… of the PCI bus. */
  readonly functions: readonly PassthroughFunction[];
  /** The clock to use: CLOCK_MONOTONIC in ns by default. */
  readonly monotonicNs?: () => number;
}

/** The parts of a hart that its registers on the bus show. */
export interface OnTheBus {
  readonly timer: Timer;
  readonly interruptFile: Imsic;
}

export class SharedMachine {
  readonly bus = new SystemBus();
  readonly clock: Clock;
  readonly uart: Uart;
  readonly finisher = new TestFinisher();
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  readonly #control: Int32Array;
  readonly #pci = new PciHost();
  readonly #functions: readonly PassthroughFunction[];

  constructor({ ramSize, entry, control, input, output, functions, monotonicNs }: SharedMachineOptions) {
    this.#control = int32s(control);
    this.clock = new Clock(control, monotonicNs);
    this.input = input;
    this.output = output;
    this.uart = new Uart(input, output);
    this.#functions = functions;
    for (const fn of functions) this.#pci.add(fn);
    this.bus.map(MROM, bootRom(entry, deviceTreeGpa(ramSize)));
    this.bus.map(TEST_FINISHER, this.finisher);
    this.bus.map(UART, this.uart);
    this.#pci.mapInto(this.bus);
  }

  /** Puts the registers of the harts on the bus. */
  connect(harts: readonly OnTheBus[]): Clint {
    const wake = (hart: number): void => wakeHart(this.#control, hart);
    const clint = new Clint({ clock: this.clock, timers: harts.map(({ timer }) => timer), wake });
    this.bus.map(CLINT, clint);
    harts.forEach(({ interruptFile }, hart) => {
      const page = new ImsicPage(interruptFile, (by) => {
        if (by !== hart) wake(hart);
      });
      this.bus.map(imsicPage(hart), page);
    });
    return clint;
  }

  /** Takes the state that a power-on leaves. */
  reset(): void {
    this.#pci.reset();
    this.uart.reset();
  }

  save(): SharedState {
    return { uart: this.uart.save(), pci: PCI_SECTION.of({ functions: this.#functions.map((fn) => fn.save()) }) };
  }

  /** Restores all but the PCI functions: they were made with their state. */
  restore({ uart }: Pick<SharedState, 'uart'>): void {
    this.uart.restore(uart);
  }
}
