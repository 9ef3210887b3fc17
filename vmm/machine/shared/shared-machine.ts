/**
 * The part of the machine that all harts share: the bus with its devices, and the clock. One thread
 * owns it: the vCPU of OWNER_HART, or main in its place (crew/main-slices.ts). So devices keep
 * plain fields. Only the CLINT and the interrupt files have registers in shared words, and the
 * thread of any hart may reach them.
 */
import { SHARES_SECTION, type SharesState } from '../../../devices/backends/exported-tree.ts';
import { type SocketStream, STREAMS_SECTION, type StreamsState } from '../../../devices/backends/socket-stream.ts';
import type { NinepServer } from '../../../devices/virtio/ninep-server.ts';
import type { Semihosting } from '../../../guest/riscv/environment.ts';
import type { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { realtimeNs } from '../../../platform/clock.ts';
import { einval } from '../../../platform/errno.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { list, type Shaped } from '../../../platform/shape.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartCount, hartWords, OWNER_HART } from '../control/control-block.ts';
import { wakeHart } from '../control/lease.ts';
import { EXTERNAL_LINE } from '../hart-local/imsic-file.ts';
import { LEVELS } from '../hart-local/interrupt-target.ts';
import type { SendMessage } from './aplic.ts';
import { bootRom, deviceTreeGpa } from './boot-rom.ts';
import { SystemBus } from './bus.ts';
import { Clock, type MachineClock } from './clock.ts';
import type { ConsoleInput } from './console-input.ts';
import type { ConsoleOutput } from './console-output.ts';
import { DirectPort, dmaSpace } from './dma-space.ts';
import { FwCfg, type FwCfgState } from './fw-cfg.ts';
import { type FwCfgPlan, fwCfgContents } from './fw-cfg-contents.ts';
import { GuestIommu, type IommuState } from './guest-iommu.ts';
import { Icount, type IcountPlan, type IcountState } from './icount.ts';
import { FW_CFG, IOMMU, imsicPages, type MapEntry, MROM, pciIrq, TEST_FINISHER, UART, UART_IRQ } from './memory-map.ts';
import {
  PASSTHROUGH_STATE,
  PASSTHROUGH_STATE_1,
  PASSTHROUGH_STATE_2,
  type PassthroughFunction,
  type PassthroughState,
} from './passthrough.ts';
import { PciHost } from './pci-host.ts';
import { RamMemory } from './ram-memory.ts';
import { recordedCalls } from './replay/calls.ts';
import type { Recording, ReplayState } from './replay/recording.ts';
import { SemihostingHost, type SemihostingPlan, type SemihostingState } from './semihosting.ts';
import { SerialLine } from './serial-line.ts';
import { TestFinisher } from './test-finisher.ts';
import { Uart, type UartState } from './uart.ts';
import { VirtioDevices, type VirtioDevicesState, type VirtioUnit } from './virtio-devices.ts';
import { type Aia, WiredDevices, type WiredState } from './wired-devices.ts';

/** The functions on the PCI bus by slot, from 1. */
export const PCI_SECTION = defineSection('pci', 3, { functions: list(PASSTHROUGH_STATE) })
  .earlier(
    2,
    { functions: list(PASSTHROUGH_STATE_2) },
    {
      read: ({ functions }) => ({ functions: functions.map((fn) => ({ ...fn, version: 3, rom: null })) }),
      write: ({ functions }) => ({ functions: functions.map(withoutRom) }),
    },
  )
  .earlier(
    1,
    { functions: list(PASSTHROUGH_STATE_1) },
    {
      read: ({ functions }) => ({ functions: functions.map((fn) => ({ ...fn, version: 3, msix: null, rom: null })) }),
      write: ({ functions }) => ({
        functions: functions.map(withoutRom).map(({ msix, ...fn }) => {
          if (msix) throw einval(`${fn.bdf} has MSI-X`);
          return { ...fn, version: 1 as const };
        }),
      }),
    },
  );

function withoutRom({ rom, ...fn }: PassthroughState): Shaped<typeof PASSTHROUGH_STATE_2> {
  if (rom) throw einval(`${fn.bdf} has a ROM`);
  return { ...fn, version: 2 };
}

/** The sections of what is wired are there in a machine that has it. */
export interface SharedState extends Partial<WiredState> {
  /** There in a machine that has such devices. */
  readonly virtio?: VirtioDevicesState;
  /** There in a machine with an IOMMU of the guest's own. */
  readonly iommu?: IommuState;
  /** There in a machine with wired interrupts. */
  readonly fwCfg?: FwCfgState;
  /** There where the guest may call the host. */
  readonly semihosting?: SemihostingState;
  /** There where lines lead to sockets. */
  readonly streams?: StreamsState;
  /** There where time is counted by instructions. */
  readonly icount?: IcountState;
  /** There where a guest is recorded or replayed. */
  readonly replay?: ReplayState;
  /** There where the guest reads folders by 9P. */
  readonly shares?: SharesState;
  readonly uart: UartState;
  readonly pci: StateOf<typeof PCI_SECTION>;
}

export interface SharedMachineOptions {
  readonly ram: SharedPart;
  /** The address that the boot ROM jumps to. */
  readonly entry: number;
  /** The address that firmware goes on at; absent without firmware. */
  readonly next?: number | undefined;
  readonly aia: Aia;
  /** Whether there is an APLIC before the IMSIC: wires with `aplic-imsic`, too. */
  readonly aplic?: boolean | undefined;
  /** Whether there is an IOMMU of the guest's own, in front of the virtio devices on PCI. */
  readonly iommu?: boolean | undefined;
  /** MachineBlock and HartBlocks. */
  readonly control: SharedPart;
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  /** The passed-through devices, for slots 1… of the PCI bus. Their state comes later. */
  readonly functions: readonly PassthroughFunction[];
  /** Devices in the VMM, for the slots after those; over MMIO only with wired interrupts. */
  readonly virtio?: readonly VirtioUnit[] | undefined;
  /** Sockets that lines lead to, and the one of them that the UART's does. */
  readonly streams?: readonly SocketStream[];
  readonly serial?: SocketStream | undefined;
  /** What fw_cfg has; only with wired interrupts. */
  readonly fwCfg?: FwCfgPlan | undefined;
  /** Whether the guest may call the host, and how. */
  readonly semihosting?: SemihostingPlan | undefined;
  /** Folders that the guest reads by 9P. */
  readonly shares?: readonly NinepServer[];
  /** Time is counted by instructions. */
  readonly icount?: IcountPlan | undefined;
  /** The recording of a guest with `icount`. */
  readonly recording?: Recording | undefined;
  /** The clock to use without `icount`: CLOCK_MONOTONIC in ns by default. */
  readonly monotonicNs?: () => number;
}

export class SharedMachine {
  readonly bus = new SystemBus();
  readonly clock: MachineClock;
  /** There where time is counted by instructions. */
  readonly icount: Icount | undefined;
  readonly uart: Uart;
  readonly finisher = new TestFinisher();
  readonly input: ConsoleInput;
  readonly output: ConsoleOutput;
  readonly semihosting: SemihostingHost | undefined;
  /** What answers the guest's calls. */
  readonly calls: Semihosting | undefined;
  readonly recording: Recording | undefined;
  readonly #control: Int32Array;
  readonly #pci = new PciHost();
  readonly #functions: readonly PassthroughFunction[];
  readonly #wired: WiredDevices | undefined;
  readonly #iommu: GuestIommu | undefined;
  readonly #virtio: VirtioDevices | undefined;
  readonly #fwCfg: FwCfg | undefined;
  readonly #streams: readonly SocketStream[];
  readonly #shares: readonly NinepServer[];
  readonly #serial: SerialLine | undefined;

  constructor(options: SharedMachineOptions) {
    const { ram, entry, next, aia, control, input, output, functions, virtio = [], monotonicNs } = options;
    this.#control = int32s(control);
    const harts = hartCount(control);
    const messages = aia === 'none' ? [] : LEVELS.map((level) => imsicPages(harts, level));
    this.icount =
      options.icount &&
      new Icount(options.icount, harts, {
        dueNs: () => this.#wired?.dueNs(),
        update: () => this.#wired?.update(),
        blocked: () => output.blocks,
      });
    if (aia === 'none' || options.aplic) {
      const send = options.aplic ? this.#sendTo(messages) : undefined;
      this.#wired = new WiredDevices({ harts, drive: this.#driveContext, send, timeNs: () => this.#timeNs() });
    }
    this.clock = this.icount?.clock ?? new Clock(control, monotonicNs);
    this.input = input;
    this.output = output;
    this.semihosting = options.semihosting && this.#semihosting(options.semihosting);
    this.recording = options.recording;
    this.calls =
      this.recording && this.semihosting ? recordedCalls(this.semihosting, this.recording) : this.semihosting;
    this.#streams = options.streams ?? [];
    this.#shares = options.shares ?? [];
    this.#serial = options.serial && new SerialLine(options.serial, input);
    this.uart = new Uart(input, output, this.#wired?.line(UART_IRQ));
    this.#functions = functions;
    for (const fn of functions) {
      const source = pciIrq(this.#pci.add(fn), 0); // all are functions with pin A
      if (!this.#wired) continue;
      fn.connectIntx(this.#wired.sharedLine(source));
      this.#wired.onCompletion(source, () => fn.intxCompleted());
    }
    const physical = dmaSpace(ram, this.bus, messages);
    if (options.iommu) {
      const ports = virtio.filter(({ transport }) => transport === 'pci').length;
      const wired = this.#wired;
      this.#iommu = new GuestIommu({ physical, ports, drive: wired && ((source, up) => wired.drive(source, up)) });
      this.bus.map(IOMMU, this.#iommu);
    }
    if (virtio.length > 0 || this.#wired) this.#virtio = this.#virtioDevices(virtio, { ram, physical });
    if (this.#wired) {
      const plan = options.fwCfg ?? { harts, files: [] };
      this.#fwCfg = new FwCfg(new RamMemory(ram), fwCfgContents(plan));
      this.bus.map(FW_CFG, this.#fwCfg);
    }
    this.bus.map(MROM, bootRom({ entry, next, deviceTree: deviceTreeGpa(ram.size) }));
    this.bus.map(TEST_FINISHER, this.finisher);
    this.bus.map(UART, this.uart);
    this.#pci.mapInto(this.bus);
    this.#wired?.mapInto(this.bus);
    if (this.#wired) this.#virtio?.mapInto(this.bus);
  }

  /** The time since 1970. */
  #timeNs(): bigint {
    return this.icount?.clock.ns ?? realtimeNs();
  }

  #semihosting(plan: SemihostingPlan): SemihostingHost {
    return new SemihostingHost({
      ...plan,
      output: this.output,
      mtime: () => this.clock.now(),
      timeNs: () => this.#timeNs(),
      end: (status) => this.finisher.powerOff(status),
    });
  }

  /** Where nothing is wired their lines lead nowhere, and there are no slots. */
  #virtioDevices(
    units: readonly VirtioUnit[],
    { ram, physical }: { readonly ram: SharedPart; readonly physical: PhysicalMemory },
  ): VirtioDevices {
    const wired = this.#wired;
    const pci = this.#pci;
    return new VirtioDevices(units, {
      memory: new RamMemory(ram),
      nextPort: () => this.#iommu?.port(pci.nextSlot) ?? new DirectPort(physical),
      line: (source) => wired?.line(source) ?? nowhere,
      addFunction: (make) => pci.add(make(wired?.sharedLine(pciIrq(pci.nextSlot, 0)) ?? nowhere)),
    });
  }

  /** Lets devices see what has happened outside of the machine: input, time. */
  update(): void {
    if (this.recording) this.recording.look(() => this.#look());
    else this.#look();
  }

  #look(): void {
    for (const stream of this.#streams) stream.update();
    this.#hear();
    this.uart.update();
    if (this.#wired) for (const fn of this.#functions) fn.update();
    this.#wired?.update();
    this.#virtio?.update();
  }

  #hear(): void {
    const replayed = this.recording?.replays ? this.recording.takes('input') : undefined;
    if (replayed) this.input.push(replayed);
    else if (!this.recording?.replays) this.#serial?.update();
    const heard = this.input.hear();
    if (heard.length > 0 && !this.recording?.replays) this.recording?.note('input', 0, heard);
  }

  /**
   * Milliseconds of real time until a device wants `update`; undefined if none does. Guest time
   * that is counted has its own way (icount.ts).
   */
  dueMs(): number | undefined {
    const wiredNs = this.icount ? undefined : this.#wired?.dueNs();
    let due = wiredNs === undefined ? undefined : wiredNs / 1e6;
    due = sooner(sooner(due, this.#virtio?.dueMs()), this.#serial?.dueMs());
    for (const stream of this.#streams) due = sooner(due, stream.dueMs());
    return due;
  }

  get #hasVirtio(): boolean {
    return (this.#virtio?.count ?? 0) > 0;
  }

  /** Context 2h of the PLIC is MEIP of hart h, 2h + 1 its SEIP. */
  #driveContext = (context: number, up: boolean): void => {
    const hart = context >> 1;
    const { lines } = hartWords(hart);
    const bit = EXTERNAL_LINE[context & 1 ? 'supervisor' : 'machine'];
    const before = up ? Atomics.or(this.#control, lines, bit) : Atomics.and(this.#control, lines, ~bit);
    if (up && (before & bit) === 0 && hart !== OWNER_HART) wakeHart(this.#control, hart);
  };

  /**
   * Where messages of the APLIC go: to these pages. NOT MODELLED: messages to any other address, as
   * of devices that are passed through.
   */
  #sendTo(pages: readonly MapEntry[]): SendMessage {
    return (gpa, identity) => {
      const isThere = pages.some(({ base, size }) => gpa >= base && gpa < base + size);
      if (isThere) this.bus.store(gpa, 4, BigInt(identity), OWNER_HART);
    };
  }

  /** Takes the state that a power-on leaves. */
  reset(): void {
    this.#pci.reset();
    this.uart.reset();
    this.#virtio?.reset();
    this.#iommu?.reset();
    this.#wired?.reset();
    this.#fwCfg?.reset();
    this.semihosting?.reset();
    this.icount?.goTo(OWNER_HART);
    for (const share of this.#shares) share.reset();
  }

  save(): SharedState {
    return {
      uart: this.uart.save(),
      pci: PCI_SECTION.of({ functions: this.#functions.map((fn) => fn.save()) }),
      ...this.#wired?.save(),
      ...(this.#hasVirtio ? { virtio: this.#virtio!.save() } : {}),
      ...(this.#iommu ? { iommu: this.#iommu.save() } : {}),
      ...(this.#fwCfg ? { fwCfg: this.#fwCfg.save() } : {}),
      ...(this.semihosting ? { semihosting: this.semihosting.save() } : {}),
      ...(this.#streams.length > 0
        ? { streams: STREAMS_SECTION.of({ streams: this.#streams.map((each) => each.save()) }) }
        : {}),
      ...(this.#shares.length > 0
        ? { shares: SHARES_SECTION.of({ shares: this.#shares.map((each) => each.save()) }) }
        : {}),
      ...(this.icount ? { icount: this.icount.save(this.input.waiting) } : {}),
      ...(this.recording ? { replay: this.recording.save() } : {}),
    };
  }

  /** The passed-through functions come into being. */
  restoreFunctions({ functions }: SharedState['pci']): void {
    this.#functions.forEach((fn, i) => {
      fn.restore(functions[i]!);
    });
  }

  restore(state: SharedState): void {
    const { uart, pci, virtio, iommu, streams, fwCfg, semihosting, icount, replay, shares } = state;
    this.restoreFunctions(pci);
    if (icount) {
      this.icount?.restore(icount); // before those that follow its time
      this.input.hearAgain(icount.heard);
    }
    if (replay) this.recording?.restore(replay);
    if (this.#wired) {
      this.#wired.restore(state);
      for (const fn of this.#functions) fn.settleIntx();
    }
    const restoreVirtio = (): void => {
      if (virtio) this.#virtio?.restore(virtio);
    };
    if (this.#iommu && iommu) this.#iommu.restore(iommu, restoreVirtio);
    else restoreVirtio();
    if (fwCfg) this.#fwCfg?.restore(fwCfg);
    if (semihosting) this.semihosting?.restore(semihosting);
    shares?.shares.forEach((state, i) => {
      this.#shares[i]?.restore(state);
    });
    streams?.streams.forEach((state, i) => {
      this.#streams[i]?.restore(state);
    });
    this.uart.restore(uart);
    this.#wired?.restoreMessages(state);
  }
}

const nowhere = (): void => {};

const sooner = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
