/**
 * A PCI function with a passed-through device behind it. Its config space is the device's own,
 * except for two things that belong to this machine: where BARs and ROM lie in guest memory, and
 * where messages go. COMMAND goes through as the guest writes it. NOT MODELLED: I/O BARs (have
 * their size, decode nothing).
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { SysError } from '../../../platform/errno.ts';
import { flag, integer, list, nullable, object, oneOf, type Shaped, text } from '../../../platform/shape.ts';
import { ExpansionRom, ROM_STATE } from './expansion-rom.ts';
import { messageTarget } from './imsic-page.ts';
import { Intx } from './intx.ts';
import { MSI_STATE, MsiCapability, type MsiState } from './msi-capability.ts';
import { MSIX_STATE, MsixCapability, type MsixState } from './msix-capability.ts';
import {
  type BarWindow,
  type ConfigSize,
  type DeviceAccess,
  type MsiRouter,
  type PciFunction,
  ROM_WINDOW,
} from './pci-function.ts';
import { allOnes, extract } from './pci-host.ts';

// PCI 3.0 §6.1
const COMMAND = 0x04;
const STATUS_CAPABILITIES = 1 << 4;
const BAR0 = 0x10;
const BARS_END = 0x28;
const EXPANSION_ROM = 0x30;
const CAPABILITIES = 0x34;
const COMMAND_MEMORY = 1 << 1;
const BAR_IO = 1;
const BAR_MEM64 = 4;
const CAP_ID_MSI = 5;
const CAP_ID_MSIX = 0x11;

/**
 * A BAR as hardware made it. `flags` are its read-only low bits. Size 0: the BAR does not exist, or
 * is the upper half of the one below.
 */
const BAR_LAYOUT = object({ size: integer, flags: integer });

export type BarLayout = Shaped<typeof BAR_LAYOUT>;

const FIELDS = {
  bdf: text,
  configSize: integer,
  layout: list(BAR_LAYOUT),
  command: integer,
  bars: list(integer),
  msi: nullable(MSI_STATE),
  /** Whether the kernel signals our eventfds. */
  armed: flag,
  /** The function's routes, by vector. */
  routes: list(integer),
};

/** Without MSI-X (0.1.0). */
export const PASSTHROUGH_STATE_1 = object({ version: oneOf(1), ...FIELDS });

/** Without expansion ROM. */
export const PASSTHROUGH_STATE_2 = object({ version: oneOf(2), ...FIELDS, msix: nullable(MSIX_STATE) });

export const PASSTHROUGH_STATE = object({
  version: oneOf(3),
  ...FIELDS,
  msix: nullable(MSIX_STATE),
  rom: nullable(ROM_STATE),
});

export type PassthroughState = Shaped<typeof PASSTHROUGH_STATE>;

/**
 * Reads what a device shows of itself; returns it as the state of a function before any
 * programming.
 */
export function probeFunction(
  device: DeviceAccess,
  facts: { bdf: string; configSize: number; barSizes: readonly number[]; romSize: number; routes: readonly number[] },
): PassthroughState {
  const { bdf, configSize, barSizes, romSize, routes } = facts;
  const dword = (offset: number): number => {
    const bytes = new Uint8Array(4);
    device.readConfig(offset, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  };
  const layout = barSizes.map((size, bar) => ({ size, flags: size === 0 ? 0 : dword(BAR0 + 4 * bar) & 0xf }));
  let msi: MsiState | null = null;
  let msix: MsixState | null = null;
  if ((dword(COMMAND) >>> 16) & STATUS_CAPABILITIES) {
    let at = dword(CAPABILITIES) & 0xfc;
    for (let hops = 0; at >= 0x40 && hops < 48; hops++) {
      const header = dword(at);
      if ((header & 0xff) === CAP_ID_MSI) msi = MsiCapability.fromDevice(at, header).save();
      if ((header & 0xff) === CAP_ID_MSIX) {
        msix = MsixCapability.fromDevice(at, [header, dword(at + 4), dword(at + 8)]).save();
      }
      at = (header >>> 8) & 0xfc;
    }
  }
  const rom = romSize === 0 ? null : { size: romSize, address: 0 };
  return { version: 3, bdf, configSize, layout, command: 0, bars: [], msi, msix, rom, armed: false, routes };
}

export class PassthroughFunction implements PciFunction {
  readonly #device: DeviceAccess;
  readonly #router: MsiRouter;
  #configSize = 0;
  #bdf = '';
  #layout: readonly BarLayout[] = [];
  #msi: MsiCapability | undefined;
  #msix: MsixCapability | undefined;
  #rom: ExpansionRom | undefined;
  #bars: number[] = [];
  #command = 0;
  #armed: Armed = { kind: 'none' };
  #routes: readonly number[] = [];
  #windows: readonly BarWindow[] = [];
  /** Accesses that the guest has made to its BARs. */
  accesses = 0;
  readonly #intx: Intx | undefined;

  /**
   * A function that is not there for the guest until it gets its state. `intxEventfd`: for its
   * INTx; without one that leads nowhere.
   */
  constructor(device: DeviceAccess, router: MsiRouter, intxEventfd?: number) {
    this.#device = device;
    this.#router = router;
    if (intxEventfd !== undefined) this.#intx = new Intx(intxEventfd, device);
  }

  /** The function's INTA drives this line of the guest. */
  connectIntx(drive: (up: boolean) => void): void {
    this.#intx?.connect(drive);
  }

  /** To be called when the guest's interrupt controller has its state. */
  settleIntx(): void {
    this.#intx?.settle();
  }

  /** Looks whether the device has interrupted by INTx. */
  update(): void {
    if (this.isGone) this.#intx?.remove();
    else this.#intx?.update();
  }

  /** The guest has completed an interrupt of that line. */
  intxCompleted(): void {
    if (!this.isGone) this.#intx?.completed();
  }

  get isGone(): boolean {
    return this.#device.isGone();
  }

  get configSize(): number {
    return this.#configSize;
  }

  /** The function's routes, by vector. */
  get routes(): readonly number[] {
    return this.#routes;
  }

  restore(state: PassthroughState): void {
    this.#configSize = state.configSize;
    this.#bdf = state.bdf;
    this.#layout = state.layout;
    this.#msi = state.msi ? new MsiCapability(state.msi) : undefined;
    this.#command = state.command;
    this.#bars = state.layout.map(({ flags }, bar) => state.bars[bar] ?? flags);
    this.#msix = state.msix ? new MsixCapability(state.msix) : undefined;
    this.#rom = state.rom ? new ExpansionRom(this.#device, state.rom) : undefined;
    this.#armed = armedOf(state);
    this.#intx?.resume(!state.armed && !this.isGone);
    this.#routes = state.routes;
    this.#decode();
  }

  save(): PassthroughState {
    return {
      version: 3,
      bdf: this.#bdf,
      configSize: this.#configSize,
      layout: this.#layout,
      command: this.#command,
      bars: [...this.#bars],
      msi: this.#msi?.save() ?? null,
      msix: this.#msix?.save() ?? null,
      rom: this.#rom?.save() ?? null,
      armed: this.#armed.kind !== 'none',
      routes: this.#routes,
    };
  }

  /**
   * Conventional reset: interrupts are off, nothing is decoded, the function is no bus master. The
   * device is reset if it can be.
   */
  reset(): void {
    this.#msi?.reset();
    this.#msix?.reset();
    this.#rom?.reset();
    this.#updateMessages();
    this.#layout.forEach(({ flags }, bar) => {
      this.#bars[bar] = flags;
    });
    this.#command = 0;
    attempt(() => this.#device.writeConfig(COMMAND, new Uint8Array(2)));
    attempt(() => this.#device.reset());
    this.#intx?.arm(true);
    this.#decode();
  }

  windows(): readonly BarWindow[] {
    return this.#windows;
  }

  readConfig(offset: number, size: ConfigSize): number {
    const register = offset & ~3;
    if (isBar(register)) return extract(this.#bars[(register - BAR0) / 4]!, offset & 3, size);
    if (register === EXPANSION_ROM) return extract(this.#rom?.register ?? 0, offset & 3, size);
    const messages = this.#capabilityAt(register);
    if (messages) return extract(messages.readDword(register), offset & 3, size);
    const bytes = new Uint8Array(size).fill(0xff);
    attempt(() => this.#device.readConfig(offset, bytes));
    return littleEndian(bytes);
  }

  writeConfig(offset: number, size: ConfigSize, value: number): void {
    const register = offset & ~3;
    if (isBar(register)) {
      const bar = (register - BAR0) / 4;
      this.#bars[bar] = this.#maskBar(bar, insert(this.#bars[bar]!, offset & 3, size, value));
      this.#decode();
      return;
    }
    if (register === EXPANSION_ROM) {
      if (this.#rom) this.#rom.register = insert(this.#rom.register, offset & 3, size, value);
      this.#decode();
      return;
    }
    const messages = this.#capabilityAt(register);
    if (messages) {
      messages.writeDword(register, insert(messages.readDword(register), offset & 3, size, value));
      this.#updateMessages();
    } else {
      attempt(() => this.#device.writeConfig(offset, toBytes(value, size)));
      if (register === COMMAND && offset < COMMAND + 2) {
        this.#command = insert(this.#command, offset & 3, size, value) & 0xffff;
        this.#decode();
      }
    }
  }

  #capabilityAt(register: number): MsiCapability | MsixCapability | undefined {
    return [this.#msi, this.#msix].find((capability) => capability?.covers(register));
  }

  loadBar(bar: number, offset: number, size: AccessSize): bigint {
    if (this.#msix?.coversTable(bar, offset, size)) return this.#msix.loadTable(offset, size);
    if (bar === ROM_WINDOW) return attempt(() => this.#rom!.load(offset, size)) ?? allOnes(size);
    this.accesses++;
    const value = attempt(() => this.#device.readBar(bar, offset, size));
    if (!value) return allOnes(size);
    return size === 8 ? (BigInt(value.hi) << 32n) | BigInt(value.lo) : BigInt(value.lo);
  }

  storeBar(bar: number, offset: number, size: AccessSize, value: bigint): void {
    if (this.#msix?.coversTable(bar, offset, size)) {
      this.#msix.storeTable(offset, size, value);
      this.#updateMessages();
      return;
    }
    if (bar === ROM_WINDOW) return;
    this.accesses++;
    const lo = Number(BigInt.asUintN(32, value));
    const hi = size === 8 ? Number(value >> 32n) : 0;
    attempt(() => this.#device.writeBar(bar, offset, size, { lo, hi }));
  }

  /** A BAR keeps the bits above its size; its type cannot be written (PCI 3.0 §6.2.5.1). */
  #maskBar(bar: number, value: number): number {
    const { size, flags } = this.#layout[bar]!;
    const below = this.#layout[bar - 1];
    if (size === 0) {
      if (!below || (below.flags & BAR_MEM64) === 0) return 0;
      // the upper half of a 64-bit BAR
      return (value & ~Math.floor((below.size - 1) / 2 ** 32)) >>> 0;
    }
    const low = Math.min(size, 2 ** 32) - 1;
    return ((value & ~low) | flags) >>> 0;
  }

  #decode(): void {
    if (this.isGone) return;
    const windows: BarWindow[] = [];
    if (this.#command & COMMAND_MEMORY) {
      this.#layout.forEach(({ size, flags }, bar) => {
        if (size === 0 || flags & BAR_IO) return;
        const high = flags & BAR_MEM64 ? this.#bars[bar + 1]! : 0;
        windows.push({ bar, base: high * 2 ** 32 + ((this.#bars[bar]! & ~0xf) >>> 0), size });
      });
      const rom = this.#rom?.window();
      if (rom) windows.push(rom);
    }
    this.#windows = windows;
    attempt(() => this.#device.placeBars(windows));
  }

  /**
   * Makes the interrupts of the kernel and of the routes agree with the guest's. With both kinds of
   * messages enabled MSI-X is used, with none INTx. The kernel has one kind at a time, so the other
   * one goes first.
   */
  #updateMessages(): void {
    const msix = this.#msix?.enabled ? this.#msix : undefined;
    const msi = !msix && this.#msi?.enabled ? this.#msi : undefined;
    const vectors = (msix ?? msi)?.vectors ?? 0;
    this.#routes.forEach((route, vector) => {
      const { gpa, data } = vector < vectors ? (msix ?? msi)!.message(vector) : NOWHERE;
      this.#router.setIdentity(route, messageTarget(gpa, data));
    });
    if (msix || msi) this.#intx?.disarm();
    if (this.#armed.kind === 'msi' && !msi) this.#device.disarmMsi();
    if (this.#armed.kind === 'msix' && !msix) this.#device.disarmMsix();
    if (msi && this.#armed.kind !== 'msi') {
      this.#device.armMsi(this.#routes.slice(0, vectors).map((route) => this.#router.eventfd(route)));
    }
    if (msix) this.#armMsix(msix.unmasked());
    if (!msix && !msi) this.#intx?.arm();
    this.#armed = msix ? { kind: 'msix', vectors: msix.unmasked() } : { kind: msi ? 'msi' : 'none' };
  }

  /** A vector that is masked has no eventfd. Only what differs is told, but the first time all. */
  #armMsix(wanted: readonly boolean[]): void {
    const now = this.#armed.kind === 'msix' ? this.#armed.vectors : undefined;
    const differs = (isWanted: boolean, vector: number): boolean => isWanted !== now?.[vector];
    const first = wanted.findIndex(differs);
    if (first < 0) return;
    const eventfds = this.#routes.map((route, vector) => (wanted[vector] ? this.#router.eventfd(route) : -1));
    this.#device.armMsix(first, eventfds.slice(first, wanted.findLastIndex(differs) + 1));
  }
}

/** Whose eventfds the kernel signals, and for MSI-X of which vectors. */
type Armed = { readonly kind: 'none' | 'msi' } | { readonly kind: 'msix'; readonly vectors: readonly boolean[] };

function armedOf({ armed, msix }: PassthroughState): Armed {
  if (!armed) return { kind: 'none' };
  const capability = msix && new MsixCapability(msix);
  return capability?.enabled ? { kind: 'msix', vectors: capability.unmasked() } : { kind: 'msi' };
}

/** The message of a vector that is off: it reaches no interrupt file. */
const NOWHERE = { gpa: 0, data: 0 };

const isBar = (register: number): boolean => register >= BAR0 && register < BARS_END;

/**
 * Makes an access. A device that refuses it (memory decoding off: EIO, PCI-7) counts as a device
 * that does not answer: undefined; a write is dropped. EPIPE means that the host has ended; it is
 * thrown.
 */
function attempt<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch (error) {
    if (!(error instanceof SysError) || error.code === 'EPIPE') throw error;
    return undefined;
  }
}

/** `dword` with `size` bytes at byte `at` replaced. */
function insert(dword: number, at: number, size: ConfigSize, value: number): number {
  if (size === 4) return value >>> 0;
  const mask = (size === 2 ? 0xffff : 0xff) << (8 * at);
  return ((dword & ~mask) | ((value << (8 * at)) & mask)) >>> 0;
}

const littleEndian = (bytes: Uint8Array): number => bytes.reduceRight((value, byte) => value * 256 + byte, 0);

const toBytes = (value: number, size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => value >>> (8 * i));
