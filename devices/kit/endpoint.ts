/**
 * One PCI function: a device behind its configuration space. It serves register accesses and runs
 * the device. It knows nothing of threads.
 */
import {
  PCI_BASE_ADDRESS_0,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_CFG_SPACE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_ROM_ADDRESS,
} from '../../iommu/abi/pci-regs.ts';
import type { PeerHandler } from '../../iommu/bus/peer-cycles.ts';
import { type Halves, type MailboxHandler, REGION_CONFIG } from '../../platform/mailbox.ts';
import { ONES, type Registers, readRegisters, writeRegisters } from './bar-access.ts';
import { BusMaster } from './bus-master.ts';
import { ConfigSpace } from './config-space.ts';
import type { DeviceControl } from './control.ts';
import type { Bar, Clock, Device, DeviceFiles, DeviceType, DmaRecord, RegisterBar } from './device.ts';
import type { Dma } from './dma.ts';
import { ExpressCapability } from './express.ts';
import { FlrCapability } from './flr.ts';
import { barsOf, hasFlr, identityOf, isPcie, msixVectorsOf } from './function-properties.ts';
import { Interrupts, type LevelLine } from './interrupts.ts';
import { MsiCapability } from './msi.ts';
import { MsixCapability } from './msix.ts';
import { type PropertyTable, type PropertyValues, parseProperties } from './properties.ts';
import { ExpansionRom, ROM_REGION } from './rom.ts';

/** Lets the BARs answer other devices while the function decodes memory (iommu/bus/bar-gate.ts). */
export interface BarDecoder {
  setDecoding(on: boolean): void;
}

export interface Slot {
  readonly dma: Dma;
  readonly line: LevelLine;
  readonly clock: Clock;
  readonly timeline: DmaRecord;
  readonly control: DeviceControl;
  readonly memoryBars: BarDecoder;
  /** Serves register accesses. Absent: they come by themselves. */
  readonly serve?: () => void;
  /** What is behind the device. Absent: nothing. */
  readonly files?: DeviceFiles;
  /** The bytes of its expansion ROM. Absent: it has none. */
  readonly rom?: Uint8Array | undefined;
  /** The low half of the serial number that a PCI Express function has. Default: 0. */
  readonly serial?: number;
}

interface ResetCapability {
  /** Whether a configuration write starts a function-level reset. */
  startsReset(offset: number, size: number, value: number): boolean;
}

/** A device from its power-on, or a reset, to the next reset. */
interface Life {
  readonly device: Device;
  readonly dma: BusMaster;
  readonly interrupts: Interrupts;
}

export class Endpoint implements MailboxHandler, PeerHandler {
  readonly config: ConfigSpace;
  readonly #bars = new Map<number, Bar>();
  readonly #control: DeviceControl;
  readonly #memoryBars: BarDecoder;
  readonly #rom: ExpansionRom | undefined;
  readonly #express: ExpressCapability | undefined;
  /** What starts a function-level reset. */
  readonly #reset: ResetCapability | undefined;
  readonly #msix: MsixCapability | undefined;
  readonly #begin: () => Life;
  readonly #detach: () => void;
  #life: Life;

  /** Plugs an instance of `type` into a slot. EINVAL for bad properties. */
  constructor(type: DeviceType, slot: Slot, properties: Readonly<Record<string, string>>) {
    const values: PropertyValues<PropertyTable> = parseProperties(type.name, type.properties, properties);
    const bars = barsOf(type, values);
    const configSize = isPcie(values) ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
    const config = new ConfigSpace(identityOf(type.identity, values), bars, configSize);
    this.config = config;
    for (const bar of bars) this.#bars.set(bar.index, bar);
    type.capabilities?.(config);
    const msi = type.msi ? new MsiCapability(config) : undefined;
    const vectors = msixVectorsOf(values);
    const msix = vectors > 0 ? new MsixCapability(config, vectors) : undefined;
    this.#msix = msix;
    this.#rom = slot.rom && new ExpansionRom(config, slot.rom);
    const flr = hasFlr(values);
    this.#express = isPcie(values) ? new ExpressCapability(config, flr, slot.serial ?? 0) : undefined;
    this.#reset = this.#express ?? (flr ? new FlrCapability(config) : undefined);
    config.complete();
    this.#control = slot.control;
    this.#memoryBars = slot.memoryBars;
    const { files = { fds: [] }, serve = () => {}, line, clock, timeline, control } = slot;
    const behind = type.attach?.(files, values);
    this.#detach = () => type.detach?.(behind);
    this.#begin = () => {
      const dma = new BusMaster(config, slot.dma);
      const interrupts = new Interrupts({ config, msi, msix, dma, line, control });
      return {
        device: type.create({ dma, interrupts, config, serve, clock, timeline, control }, values, behind),
        dma,
        interrupts,
      };
    };
    this.#life = this.#begin();
  }

  /**
   * Does what firmware does before an operating system starts. The BARs get `addresses` (by BAR
   * index; a pa or a port). Decoding is on and bus master is off, as PC firmware leaves a function
   * without a boot role (command 0x0103, PCI-9).
   */
  boot(addresses: Readonly<Record<number, number>>, interruptLine: number): void {
    for (const [index, start] of Object.entries(addresses)) {
      const at = Number(index) === ROM_REGION ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + Number(index) * 4;
      this.config.write(at, 4, start % 2 ** 32);
      if (this.#bars.get(Number(index))?.width === 64) this.config.write(at + 4, 4, Math.floor(start / 2 ** 32));
    }
    this.config.write(PCI_INTERRUPT_LINE, 1, interruptLine);
    this.write(REGION_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_SERR, 0);
  }

  /**
   * Reads a region. An access to a BAR that is not there, outside of its BAR, or with its decoding
   * off reads all ones: nothing answers (PCIe 6.0 §2.3.1). RAM BARs do not answer here either,
   * because their bytes are on the board's memory map.
   */
  read(region: number, offset: number, size: number): Halves {
    this.#control.countAccess();
    if (region === REGION_CONFIG) {
      // whoever is told of an error reads of it
      if (this.#express && this.#control.take('uncorrectable-error')) this.#express.recordError();
      this.#life.device.configRead?.(offset);
      return this.config.read(offset, size);
    }
    if (region === ROM_REGION) return this.#readRom(offset, size) ?? ONES;
    const bar = this.#decode(region, offset, size);
    return bar ? readRegisters(this.#registersOf(region), bar.access, offset, size) : ONES;
  }

  #readRom(offset: number, size: number): Halves | undefined {
    return this.config.command(PCI_COMMAND_MEMORY) ? this.#rom?.read(offset, size) : undefined;
  }

  write(region: number, offset: number, size: number, lo: number, hi: number): void {
    this.#control.countAccess();
    if (region === REGION_CONFIG) {
      this.config.write(offset, size, lo);
      if (this.#reset?.startsReset(offset, size, lo)) this.#resetFunction();
      this.#memoryBars.setDecoding(this.config.command(PCI_COMMAND_MEMORY));
      this.#life.interrupts.configChanged();
      this.#life.device.configChanged?.(offset);
      return;
    }
    const bar = this.#decode(region, offset, size);
    if (bar) writeRegisters(this.#registersOf(region), bar.access, offset, size, { lo, hi });
  }

  /** Whether an access of another function would be answered now (PCIe 6.0 §2.3.1). */
  answers(bar: number, at: number, size: number): boolean {
    return this.#decode(bar, at, size)?.space === 'memory';
  }

  #registersOf(bar: number): Registers {
    return this.#msix?.bar === bar ? this.#msix : this.#life.device.bars[bar]!;
  }

  #decode(region: number, offset: number, size: number): RegisterBar | undefined {
    const bar = this.#bars.get(region);
    if (bar?.kind !== 'registers' || offset + size > bar.size) return undefined;
    return this.config.command(bar.space === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY) ? bar : undefined;
  }

  /**
   * Function-level reset. It may come in the middle of the device's run(), whose DMA and interrupts
   * reach nobody from here on.
   */
  #resetFunction(): void {
    this.#life.dma.retire();
    this.#life.interrupts.retire();
    this.config.reset();
    this.#msix?.reset();
    this.#life = this.#begin();
  }

  /** Power-off. */
  end(): void {
    this.#detach();
  }

  /** Runs one slice of the device's own work. Returns the time of its next deadline. */
  run(): number {
    const life = this.#life;
    const deadline = life.device.run();
    return life === this.#life ? deadline : 0;
  }
}
