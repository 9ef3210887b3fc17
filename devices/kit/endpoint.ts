/** One PCI function: a device behind its configuration space. Serves register accesses and runs the device; thread-free. */
import { type Halves, type MailboxHandler, REGION_CONFIG } from '../../platform/mailbox.ts';
import { ONES, readRegisters, writeRegisters } from './bar-access.ts';
import { BusMaster } from './bus-master.ts';
import {
  BAR0,
  COMMAND,
  COMMAND_IO,
  COMMAND_MEMORY,
  COMMAND_SERR,
  ConfigSpace,
  INTERRUPT_LINE,
} from './config-space.ts';
import type { DeviceControl } from './control.ts';
import type { Clock, Device, DeviceType, DmaRecord, RegisterBar } from './device.ts';
import type { Dma } from './dma.ts';
import { Interrupts, type LevelLine } from './interrupts.ts';
import { MsiCapability } from './msi.ts';
import { type PropertyTable, type PropertyValues, parseProperties } from './properties.ts';

export interface Slot {
  readonly dma: Dma;
  readonly line: LevelLine;
  readonly clock: Clock;
  readonly timeline: DmaRecord;
  readonly control: DeviceControl;
}

export class Endpoint implements MailboxHandler {
  readonly config: ConfigSpace;
  readonly #bars = new Map<number, RegisterBar>();
  readonly #device: Device;
  readonly #interrupts: Interrupts;
  readonly #control: DeviceControl;

  /** Plugs an instance of `type` into a slot. EINVAL for bad properties. */
  constructor(type: DeviceType, slot: Slot, properties: Readonly<Record<string, string>>) {
    const values: PropertyValues<PropertyTable> = parseProperties(type.name, type.properties, properties);
    this.config = new ConfigSpace(type.identity, type.bars);
    for (const bar of type.bars) this.#bars.set(bar.index, bar);
    const dma = new BusMaster(this.config, slot.dma);
    const msi = type.msi ? new MsiCapability(this.config) : undefined;
    this.#control = slot.control;
    this.#interrupts = new Interrupts({ config: this.config, msi, dma, line: slot.line, control: slot.control });
    const { clock, timeline, control } = slot;
    this.#device = type.create({ dma, interrupts: this.#interrupts, clock, timeline, control }, values);
  }

  /**
   * What firmware does before an operating system starts: BARs at `addresses` (by BAR index), decoding on, bus master
   * off, as PC firmware leaves a function without a boot role (command 0x0103, spec PCI-9).
   */
  boot(addresses: Readonly<Record<number, number>>, interruptLine: number): void {
    for (const [index, pa] of Object.entries(addresses)) {
      const at = BAR0 + Number(index) * 4;
      this.config.write(at, 4, pa % 2 ** 32);
      if (this.#bars.get(Number(index))?.width === 64) this.config.write(at + 4, 4, Math.floor(pa / 2 ** 32));
    }
    this.config.write(INTERRUPT_LINE, 1, interruptLine);
    this.write(REGION_CONFIG, COMMAND, 2, COMMAND_IO | COMMAND_MEMORY | COMMAND_SERR, 0);
  }

  /** A BAR that is not there, or an access outside of it, or with memory decoding off: nobody answers, all ones (PCIe 6.0 §2.3.1). */
  read(region: number, offset: number, size: number): Halves {
    this.#control.countAccess();
    if (region === REGION_CONFIG) return this.config.read(offset, size);
    const bar = this.#decode(region, offset, size);
    return bar ? readRegisters(this.#device.bars[region]!, bar.access, offset, size) : ONES;
  }

  write(region: number, offset: number, size: number, lo: number, hi: number): void {
    this.#control.countAccess();
    if (region === REGION_CONFIG) {
      this.config.write(offset, size, lo);
      this.#interrupts.configChanged();
      this.#device.configChanged?.();
      return;
    }
    const bar = this.#decode(region, offset, size);
    if (bar) writeRegisters(this.#device.bars[region]!, bar.access, offset, size, { lo, hi });
  }

  #decode(region: number, offset: number, size: number): RegisterBar | undefined {
    const bar = this.#bars.get(region);
    if (!bar || offset + size > bar.size || !this.config.command(COMMAND_MEMORY)) return undefined;
    return bar;
  }

  /** One slice of the device's own work; time of its next deadline. */
  run(): number {
    return this.#device.run();
  }
}
