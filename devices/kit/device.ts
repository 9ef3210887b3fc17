/**
 * The interface of a device to the kit: registers, work of its own, and the few things it is given.
 * A device knows nothing of threads.
 */
import type { AccessRules, Registers } from './bar-access.ts';
import type { BarShape, ConfigSpace, Identity } from './config-space.ts';
import type { Defect, DeviceControl } from './control.ts';
import type { Dma } from './dma.ts';
import type { Interrupts } from './interrupts.ts';
import type { PropertyTable, PropertyValues } from './properties.ts';
import type { RegisterMap } from './registers.ts';

/** CLOCK_MONOTONIC in nanoseconds; tests inject their own. */
export type Clock = () => number;

/** No deadline: only a register access gives the device work. */
export const NEVER = Number.POSITIVE_INFINITY;

/** The longest slice of work. Register accesses and IOMMU fences wait that long. */
export const SLICE_NS = 1e6;

/** The record of the device's DMA over time (iommu/bus/timeline.ts). */
export interface DmaRecord {
  record(nowNs: number, transactions: number, bytes: number): void;
}

/** The things that a device is given. */
export interface Bus {
  /** The DMA port, already gated by bus master enable. */
  readonly dma: Dma;
  readonly interrupts: Interrupts;
  /** For capabilities of the device's own (DeviceType.capabilities). */
  readonly config: ConfigSpace;
  /**
   * Serves register accesses in the middle of work that takes longer than a slice. They may reset
   * the device: then its DMA and interrupts reach nobody from there on.
   */
  readonly serve: () => void;
  readonly clock: Clock;
  readonly timeline: DmaRecord;
  /** For defects on demand; see control.ts. */
  readonly control: DeviceControl;
}

/** What is behind a device, from power-on to power-off. */
export interface DeviceFiles {
  /** What DeviceType.open has opened. */
  readonly fds: readonly number[];
  /** The option of its backend, e.g. `dgram,id=n,…` (DeviceType.backend). */
  readonly backend?: string | undefined;
  /**
   * An epoll instance. When a fd in it becomes ready (EPOLLET), the device hears of it:
   * DeviceControl.takeNews.
   */
  readonly news?: number | undefined;
}

/** What DeviceType.open has opened. */
export interface OpenedFiles {
  readonly fds: readonly number[];
  /** Sockets that are removed at power-off. */
  readonly paths?: readonly string[];
}

/** Kinds of backends: the option that names one of them, and the property that refers to it. */
export type BackendKind = 'netdev' | 'chardev' | 'fsdev';

export interface Device {
  /** The registers of each register BAR, by BAR index. */
  readonly bars: Readonly<Record<number, Registers>>;
  /**
   * Does the work that is due, for at most about SLICE_NS. Returns the time of the next deadline:
   * at or before now if there is more to do, NEVER if there is none.
   */
  run(): number;
  /** Called before a configuration read at `offset`: what it reads may be the device's own. */
  configRead?(offset: number): void;
  /**
   * Called when configuration space was written, at `offset`. If that was COMMAND or MSI control,
   * the device must drive the levels that depend on them anew.
   */
  configChanged?(offset: number): void;
}

/** A BAR of registers, in memory or I/O space. */
export interface RegisterBar extends BarShape {
  readonly kind: 'registers';
  readonly access: AccessRules;
  /**
   * The registers of the BAR, for `--device NAME,help`. Without a map the help says that reads give
   * zeros.
   */
  readonly registers?: RegisterMap;
}

/**
 * A BAR that is memory: an object of the board, which is read and written without the device. It
 * has whole pages in memory space.
 */
export interface RamBar extends BarShape {
  readonly kind: 'ram';
  /** All such BARs of this name, of any device, show the same memory. */
  readonly sharedAs?: string;
}

export type Bar = RegisterBar | RamBar;

/** The type of a device: all that the board needs to know before there is an instance. */
export interface DeviceType<T extends PropertyTable = PropertyTable, B = unknown> {
  readonly name: string;
  /** One line for a list of devices. */
  readonly summary: string;
  readonly identity: Identity;
  bars(properties: PropertyValues<T>): readonly Bar[];
  /** Adds the device's own capabilities. Those of the kit come after them. */
  capabilities?(config: ConfigSpace): void;
  readonly msi: boolean;
  /**
   * True if no IOMMU is in front of the device: the kernel makes its memory accesses
   * (mediated-dma.ts).
   */
  readonly mediated?: true;
  readonly properties: T;
  /** It has a backend of this kind: the user names it by the property of this name. */
  readonly backend?: BackendKind;
  /**
   * Opens the files behind the device when the board is powered on, once for all its resets; they
   * are closed at power-off. `backend` is the option of its backend, empty without one. Errors are
   * one line for the user.
   */
  open?(properties: PropertyValues<T>, backend: string): OpenedFiles;
  /** Makes what is behind the device of its files, on its thread, once for all its resets. */
  attach?(files: DeviceFiles, properties: PropertyValues<T>): B;
  /** Power-off: closes what that has opened since. */
  detach?(behind: B): void;
  /** The defects that the device can be asked for (control.ts). */
  readonly defects: readonly Defect[];
  /** `behind` is what attach has made. */
  create(bus: Bus, properties: PropertyValues<T>, behind: B): Device;
}

/**
 * The exports of the file `device.ts` in a device folder. The board and the worker (worker.ts)
 * import it by the folder's name.
 */
export interface DeviceModule {
  readonly device: DeviceType;
}
