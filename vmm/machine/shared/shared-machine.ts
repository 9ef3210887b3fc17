/**
 * What all harts share: the bus with its devices, and the clock. One thread owns it, the vCPU of
 * OWNER_HART, or main in its place (crew/main-slices.ts): devices keep plain fields. Only the CLINT
 * and the interrupt files, whose registers are shared words, may be reached by the thread of any
 * hart.
 */
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { list } from '../../../platform/shape.ts';
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
  /** Where the boot ROM jumps to. */
  readonly entry: number;
  /** MachineBlock and HartBlocks. */
  readonly control: SharedArrayBuffer;
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  /** The passed-through devices, for slots 1… of the PCI bus. */
  readonly functions: readonly PassthroughFunction[];
  /** CLOCK_MONOTONIC in ns, if not given. */
  readonly monotonicNs?: () => number;
}

/** What of a hart its registers on the bus show. */
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
    this.#control = new Int32Array(control);
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

  /** What a power-on leaves. */
  reset(): void {
    this.#pci.reset();
    this.uart.reset();
  }

  save(): SharedState {
    return { uart: this.uart.save(), pci: PCI_SECTION.of({ functions: this.#functions.map((fn) => fn.save()) }) };
  }

  /** The functions were made with their state. */
  restore({ uart }: Pick<SharedState, 'uart'>): void {
    this.uart.restore(uart);
  }
}
