/**
 * What a device is to the kit: registers, work of its own, and the few things it is given. It knows
 * nothing of threads.
 */
import type { AccessRules, Registers } from './bar-access.ts';
import type { BarShape, Identity } from './config-space.ts';
import type { Defect, DeviceControl } from './control.ts';
import type { Dma } from './dma.ts';
import type { Interrupts } from './interrupts.ts';
import type { PropertyTable, PropertyValues } from './properties.ts';
import type { RegisterMap } from './registers.ts';

/** CLOCK_MONOTONIC in nanoseconds; tests inject their own. */
export type Clock = () => number;

/** No deadline: only a register access gives the device work. */
export const NEVER = Number.POSITIVE_INFINITY;

/** How long one slice of work may take: register accesses and IOMMU fences wait that long. */
export const SLICE_NS = 1e6;

/** Record of the device's DMA over time (iommu/bus/timeline.ts). */
export interface DmaRecord {
  record(nowNs: number, transactions: number, bytes: number): void;
}

/** What a device is given. */
export interface Bus {
  /** Already gated by bus master enable. */
  readonly dma: Dma;
  readonly interrupts: Interrupts;
  readonly clock: Clock;
  readonly timeline: DmaRecord;
  /** For defects on demand; see control.ts. */
  readonly control: DeviceControl;
}

export interface Device {
  /** Registers per index of a register BAR. */
  readonly bars: Readonly<Record<number, Registers>>;
  /**
   * Does what is due, for at most about SLICE_NS; returns the time of the next deadline, at or
   * before now if there is more to do, or NEVER.
   */
  run(): number;
  /** COMMAND or MSI control were written: levels derived from them are to be driven anew. */
  configChanged?(): void;
}

/** A BAR of registers, in memory or I/O space. */
export interface RegisterBar extends BarShape {
  readonly kind: 'registers';
  readonly access: AccessRules;
  /**
   * What is where in it, for whoever asks (`--device NAME,help`). Without it there is nothing:
   * reads give zeros.
   */
  readonly registers?: RegisterMap;
}

/**
 * A BAR that is memory: an object of the board, read and written without the device's doing. Whole
 * pages in memory space.
 */
export interface RamBar extends BarShape {
  readonly kind: 'ram';
}

export type Bar = RegisterBar | RamBar;

/** What a device folder exports: everything the board needs to know before there is an instance. */
export interface DeviceType<T extends PropertyTable = PropertyTable> {
  readonly name: string;
  /** One line for a list of devices. */
  readonly summary: string;
  readonly identity: Identity;
  bars(properties: PropertyValues<T>): readonly Bar[];
  readonly msi: boolean;
  /** It has no IOMMU in front: the kernel makes its memory accesses (mediated-dma.ts). */
  readonly mediated?: true;
  readonly properties: T;
  /** What it can be asked to do wrong (control.ts). */
  readonly defects: readonly Defect[];
  create(bus: Bus, properties: PropertyValues<T>): Device;
}

/**
 * What the file `device.ts` of a device folder exports. The board and the worker (worker.ts) import
 * it by the folder's name.
 */
export interface DeviceModule {
  readonly device: DeviceType;
}
