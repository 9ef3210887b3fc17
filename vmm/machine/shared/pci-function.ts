/**
 * The interfaces of a PCI function: what the PCI host sees of it, and what a passed-through
 * function sees of the device behind it.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { Halves } from '../../../platform/mailbox.ts';
import type { IntxAccess } from './intx.ts';

/** Size of a config access: naturally aligned, within one dword. */
export type ConfigSize = 1 | 2 | 4;

/** The number of the expansion ROM among the windows. */
export const ROM_WINDOW = 6;

/** [base, base+size) of PCI memory space that a function decodes. */
export interface BarWindow {
  /** 0 to 5, or ROM_WINDOW. */
  readonly bar: number;
  readonly base: number;
  readonly size: number;
}

/** One function on the guest's bus 0. Values are unsigned. */
export interface PciFunction {
  /** Its slot is empty for the guest: nothing reaches the function. */
  readonly isGone?: boolean;
  /** 256 or 4096. */
  readonly configSize: number;
  readConfig(offset: number, size: ConfigSize): number;
  writeConfig(offset: number, size: ConfigSize, value: number): void;
  /** The windows that the function decodes now: none while COMMAND.memory is clear. */
  windows(): readonly BarWindow[];
  loadBar(bar: number, offset: number, size: AccessSize): bigint;
  storeBar(bar: number, offset: number, size: AccessSize, value: bigint): void;
  reset(): void;
}

/**
 * A device that is passed through. vmm/client/device.ts implements it; tests bring their own.
 * Errors are SysErrors.
 */
export interface DeviceAccess extends IntxAccess {
  readConfig(offset: number, into: Uint8Array): void;
  writeConfig(offset: number, bytes: Uint8Array): void;
  /** The value is good until the next access. */
  readBar(bar: number, offset: number, size: AccessSize): Halves;
  writeBar(bar: number, offset: number, size: AccessSize, value: Halves): void;
  readRom(offset: number, into: Uint8Array): void;
  /** It has been taken from this machine, as by surprise removal: nothing answers any more. */
  isGone(): boolean;
  /**
   * The BARs that the guest lets decode, and where. From now on other devices reach them there and
   * nowhere else.
   */
  placeBars(windows: readonly BarWindow[]): void;
  /** MSI vectors 0… signal these eventfds from now on. */
  armMsi(eventfds: readonly number[]): void;
  disarmMsi(): void;
  /** MSI-X vectors start… signal these eventfds from now on; −1: the vector is masked. */
  armMsix(start: number, eventfds: readonly number[]): void;
  disarmMsix(): void;
  /** Resets the device if it can be reset alone. */
  reset(): void;
}

/**
 * The destination of a function's message-signalled interrupts: its routes, one per vector, from
 * eventfds to IMSIC identities.
 */
export interface MsiRouter {
  eventfd(route: number): number;
  /** `identity` is an interruptTarget. 0: the route's interrupts are dropped. */
  setIdentity(route: number, identity: number): void;
}
