/**
 * The configuration space that a user of vfio-pci sees (vfio_pci_config.c; PCI-8, PCI-9). The
 * header and the capabilities have a shadow copy; some of their bits are real and some are virtual.
 * Bytes outside of both are the hardware's own.
 */
import { efault } from '../../../../platform/errno.ts';
import {
  PCI_AF_CTRL,
  PCI_AF_CTRL_FLR,
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_CAP_ID_AF,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_VNDR,
  PCI_CAP_LIST_NEXT,
  PCI_CAP_SIZEOF,
  PCI_CAPABILITY_LIST,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXP_DEVCTL_READRQ,
  PCI_EXT_CAP_ID_ERR,
  PCI_EXT_CAP_ID_VNDR,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
  PCI_ROM_ADDRESS,
  PCI_ROM_ADDRESS_ENABLE,
  PCI_ROM_ADDRESS_MASK,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
} from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';
import { capabilityLength, extendedLength } from './capability-length.ts';
import {
  afPermissions,
  errorPermissions,
  expressPermissions,
  headerPermissions,
  msiPermissions,
  type Permissions,
} from './config-permissions.ts';
import { littleEndian } from './little-endian.ts';
import type { PciResources } from './resources.ts';

/**
 * The effects of configuration writes on the rest of the device, and the facts that they need from
 * it.
 */
export interface ConfigHooks {
  /**
   * COMMAND is about to be written with memory decoding off. Mappings of BARs must be gone before
   * the write (PCI-8).
   */
  memoryGoes(): void;
  /** COMMAND was written with memory decoding on. */
  memoryComes(): void;
  /** The user has written the reset bit of the Advanced Features capability. */
  functionReset(): void;
  /** The virtual INTx disable bit has changed. The bit masks INTx (PCI-9). */
  intxDisabled(on: boolean): void;
  /** Whether SET_IRQS has enabled MSI. */
  msiEnabled(): boolean;
  /** log2 of the number of MSI vectors that SET_IRQS last enabled (msi_qmax). */
  msiQueueSize(): number;
}

/** The next pointer in the header of an extended capability. */
const NEXT_EXTENDED = 0xffc << 20;

/** One stretch of configuration space with its own rules. */
interface Area {
  readonly kind: 'header' | 'msi' | 'af' | 'express' | 'capability' | 'extended';
  /** A capability of the vendor's own: writes go to the hardware (vfio_raw_config_write). */
  readonly isVendors?: boolean;
  readonly start: number;
  readonly length: number;
  /**
   * Absent: reads give the hardware's bytes, but not of the header (in the first 256 bytes: of the
   * next pointer; vfio_direct_config_read). Writes are dropped, unless isVendors.
   */
  readonly permissions?: Permissions;
}

export class VirtualConfig {
  readonly #pci: PciAccess;
  readonly #resources: PciResources;
  readonly #hooks: ConfigHooks;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** The area of each byte. Undefined outside of header and capabilities. */
  readonly #areas: (Area | undefined)[];
  #barsDirty = true;

  /** vfio_config_init: copies the present values of the hardware. */
  constructor(pci: PciAccess, resources: PciResources, hooks: ConfigHooks) {
    this.#pci = pci;
    this.#resources = resources;
    this.#hooks = hooks;
    this.#bytes = new Uint8Array(resources.configSize);
    this.#view = new DataView(this.#bytes.buffer);
    this.#areas = Array.from({ length: resources.configSize }, () => undefined);
    const permissions = headerPermissions();
    this.#claim({ kind: 'header', start: 0, length: PCI_STD_HEADER_SIZEOF, permissions });
    this.#claimCapabilities();
    this.#claimExtended();
  }

  #claim(area: Area): void {
    for (let i = 0; i < area.length; i++) {
      this.#areas[area.start + i] = area;
      this.#bytes[area.start + i] = this.#pci.readConfig(area.start + i, 1);
    }
  }

  /** vfio_cap_init: removes capabilities of unknown length from the chain. */
  #claimCapabilities(): void {
    let previous = PCI_CAPABILITY_LIST;
    for (const { id, at } of this.#resources.capabilities) {
      const flags = this.#pci.readConfig(at + 2, 2);
      const length = capabilityLength(id, flags);
      if (length === 0) continue;
      this.#bytes[previous] = at;
      if (id === PCI_CAP_ID_MSI) this.#claim({ kind: 'msi', start: at, length, permissions: msiPermissions(flags) });
      else if (id === PCI_CAP_ID_AF) this.#claim({ kind: 'af', start: at, length, permissions: afPermissions() });
      else if (id === PCI_CAP_ID_EXP) {
        this.#claim({ kind: 'express', start: at, length, permissions: expressPermissions(length) });
      } else this.#claim({ kind: 'capability', start: at, length, isVendors: id === PCI_CAP_ID_VNDR });
      previous = at + PCI_CAP_LIST_NEXT;
    }
    this.#bytes[previous] = 0;
  }

  /**
   * vfio_ecap_init: removes capabilities of unknown length from the chain. The first one stays
   * there with an empty header, because the chain begins at a fixed place.
   */
  #claimExtended(): void {
    let previous: number | undefined;
    for (const { id, at } of this.#resources.extended) {
      const length = extendedLength(id, this.#pci.readConfig(at + 4, 4));
      const next = this.#pci.readConfig(at, 4) & NEXT_EXTENDED;
      if (length === 0 && previous !== undefined) {
        this.#view.setUint32(previous, ((this.#view.getUint32(previous, true) & ~NEXT_EXTENDED) | next) >>> 0, true);
        continue;
      }
      const permissions = id === PCI_EXT_CAP_ID_ERR ? { permissions: errorPermissions() } : {};
      const isVendors = id === PCI_EXT_CAP_ID_VNDR;
      this.#claim({ kind: 'extended', start: at, length: Math.max(length, PCI_CAP_SIZEOF), isVendors, ...permissions });
      if (length === 0) this.#view.setUint32(at, next >>> 0, true);
      previous = at;
    }
  }

  /** __vfio_pci_memory_enabled: tests the user's COMMAND (PCI-7). */
  memoryEnabled(): boolean {
    return (this.#view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) !== 0;
  }

  /** vfio_pci_config_rw. The whole range must lie inside configuration space, else EFAULT. */
  read(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    const data = new Uint8Array(length);
    const view = new DataView(data.buffer);
    for (let done = 0; done < length; ) {
      const size = this.#pieceAt(offset + done, length - done);
      const value = this.#readPiece(offset + done, size);
      if (size === 4) view.setUint32(done, value, true);
      else if (size === 2) view.setUint16(done, value, true);
      else view.setUint8(done, value);
      done += size;
    }
    return data;
  }

  write(offset: number, data: Uint8Array): number {
    const { length } = data;
    this.#check(offset, length);
    for (let done = 0; done < length; ) {
      const size = this.#pieceAt(offset + done, length - done);
      this.#writePiece(offset + done, size, littleEndian(data, done, size));
      done += size;
    }
    return length;
  }

  #check(offset: number, length: number): void {
    if (offset + length > this.#bytes.length) throw efault(`config space has ${this.#bytes.length} bytes`);
  }

  /**
   * vfio_config_do_rw: cuts an access into aligned pieces of 4, 2 or 1 bytes that do not leave a
   * capability.
   */
  #pieceAt(at: number, length: number): 1 | 2 | 4 {
    const area = this.#areas[at];
    let room = 1;
    while ((at + room) % 4 !== 0 && this.#areas[at + room] === area) room++;
    const most = Math.min(length, room);
    if (most >= 4) return 4;
    return most >= 2 && at % 2 === 0 ? 2 : 1;
  }

  #readPiece(at: number, size: 1 | 2 | 4): number {
    const area = this.#areas[at];
    if (!area) return this.#pci.readConfig(at, size); // vfio_raw_config_read
    const { permissions } = area;
    if (!permissions) return this.#readCapability(area, at, size);
    if (area.kind === 'header' && isBar(at)) this.#fixBars();
    return this.#readMixed(permissions, area.start, at, size);
  }

  /** vfio_default_config_read */
  #readMixed(permissions: Permissions, start: number, at: number, size: number): number {
    const virtual = permissions.virtual(at - start, size);
    const shadow = this.#shadow(at, size);
    if (virtual === allBits(size)) return shadow;
    return ((this.#pci.readConfig(at, size) & ~virtual) | (shadow & virtual)) >>> 0;
  }

  /** vfio_direct_config_read */
  #readCapability({ kind, start }: Area, at: number, size: number): number {
    if (kind === 'extended' && at < start + 4) return this.#shadow(at, size);
    const value = this.#pci.readConfig(at, size);
    const next = start + PCI_CAP_LIST_NEXT;
    if (next < at || next >= at + size) return value;
    const shift = 8 * (next - at);
    return ((value & ~(0xff << shift)) | (this.#bytes[next]! << shift)) >>> 0;
  }

  #writePiece(at: number, size: 1 | 2 | 4, value: number): void {
    const area = this.#areas[at];
    if (!area || area.isVendors) {
      this.#pci.writeConfig(at, size, value); // vfio_raw_config_write
      return;
    }
    if (!area.permissions) return;
    const isCommand = area.kind === 'header' && at === PCI_COMMAND;
    const decodes = (value & PCI_COMMAND_MEMORY) !== 0;
    if (isCommand && !decodes) this.#hooks.memoryGoes();
    this.#writeMixed(area.permissions, area.start, at, size, value);
    if (area.kind === 'header') this.#headerWritten(at, value);
    if (isCommand && decodes) this.#hooks.memoryComes();
    if (area.kind === 'msi' && at <= area.start + PCI_MSI_FLAGS && at + size > area.start + PCI_MSI_FLAGS)
      this.#msiFlagsWritten(area.start + PCI_MSI_FLAGS);
    if (area.kind === 'af') this.#resetIfAsked(area.start + PCI_AF_CTRL, PCI_AF_CTRL_FLR);
    if (area.kind === 'express') this.#expressWritten(area.start + PCI_EXP_DEVCTL);
  }

  /** vfio_af_config_write: a virtual bit that starts a reset and reads 0. */
  #resetIfAsked(at: number, bit: number): void {
    const byte = this.#bytes[at]!;
    if ((byte & bit) === 0) return;
    this.#bytes[at] = byte & ~bit;
    this.#hooks.functionReset();
  }

  /**
   * vfio_exp_config_write. The size of read requests reaches the hardware, too; that of payloads
   * does not. NOT MODELLED: the floor of that size, which is the payload size: 128 bytes, the
   * least.
   */
  #expressWritten(control: number): void {
    this.#resetIfAsked(control + 1, PCI_EXP_DEVCTL_BCR_FLR >>> 8);
    const wanted = this.#view.getUint16(control, true) & PCI_EXP_DEVCTL_READRQ;
    const now = this.#pci.readConfig(control, 2);
    if ((now & PCI_EXP_DEVCTL_READRQ) === wanted) return;
    this.#pci.writeConfig(control, 2, (now & ~PCI_EXP_DEVCTL_READRQ) | wanted);
  }

  /** vfio_default_config_write */
  #writeMixed(permissions: Permissions, start: number, at: number, size: number, value: number): void {
    const writable = permissions.writable(at - start, size);
    if (writable === 0) return;
    const virtual = permissions.virtual(at - start, size);
    const toShadow = writable & virtual;
    const toHardware = writable & ~virtual;
    if (toShadow !== 0) this.#setShadow(at, size, (this.#shadow(at, size) & ~toShadow) | (value & toShadow));
    if (toHardware !== 0) {
      const now = this.#pci.readConfig(at, size);
      this.#pci.writeConfig(at, size, (now & ~toHardware) | (value & toHardware));
    }
  }

  /** vfio_basic_config_write, after the default write. */
  #headerWritten(at: number, value: number): void {
    if (isBar(at)) this.#barsDirty = true;
    if (at !== PCI_COMMAND && at !== PCI_COMMAND + 1) return;
    const decoding = PCI_COMMAND_MEMORY | PCI_COMMAND_IO;
    let command = this.#view.getUint16(PCI_COMMAND, true);
    if (at === PCI_COMMAND) command = (command & ~decoding) | (value & decoding);
    this.#view.setUint16(PCI_COMMAND, command, true);
    this.#hooks.intxDisabled((command & PCI_COMMAND_INTX_DISABLE) !== 0);
  }

  /**
   * vfio_msi_config_write. Only SET_IRQS enables MSI, and the user can have no more vectors than it
   * has enabled. All other bits reach the hardware.
   */
  #msiFlagsWritten(at: number): void {
    let flags = this.#view.getUint16(at, true);
    const queueSize = this.#hooks.msiQueueSize();
    if (!this.#hooks.msiEnabled()) flags &= ~PCI_MSI_FLAGS_ENABLE;
    if ((flags & PCI_MSI_FLAGS_QSIZE) >> 4 > queueSize) flags = (flags & ~PCI_MSI_FLAGS_QSIZE) | (queueSize << 4);
    this.#view.setUint16(at, flags, true);
    this.#pci.writeConfig(at, 2, flags);
  }

  /**
   * vfio_bar_fixup: makes the user's BARs read as the hardware's would, with the address bits down
   * to the size, and the type bits.
   */
  #fixBars(): void {
    if (!this.#barsDirty) return;
    this.#barsDirty = false;
    for (let index = 0; index < PCI_STD_NUM_BARS; index++) {
      const at = PCI_BASE_ADDRESS_0 + 4 * index;
      const bar = this.#resources.bars[index];
      if (!bar) {
        this.#view.setUint32(at, 0, true);
        continue;
      }
      const mask = BigInt.asUintN(64, -BigInt(bar.size));
      const low = (this.#view.getUint32(at, true) & Number(mask & 0xffff_ffffn)) | bar.flags;
      this.#view.setUint32(at, low >>> 0, true);
      if ((bar.flags & PCI_BASE_ADDRESS_MEM_TYPE_64) === 0) continue;
      index++;
      this.#view.setUint32(at + 4, (this.#view.getUint32(at + 4, true) & Number(mask >> 32n)) >>> 0, true);
    }
    const { romSize } = this.#resources;
    const romBits = romSize === 0 ? 0 : (-romSize & PCI_ROM_ADDRESS_MASK) | PCI_ROM_ADDRESS_ENABLE;
    this.#view.setUint32(PCI_ROM_ADDRESS, (this.#view.getUint32(PCI_ROM_ADDRESS, true) & romBits) >>> 0, true);
  }

  #shadow(at: number, size: number): number {
    if (size === 4) return this.#view.getUint32(at, true);
    return size === 2 ? this.#view.getUint16(at, true) : this.#bytes[at]!;
  }

  #setShadow(at: number, size: number, value: number): void {
    if (size === 4) this.#view.setUint32(at, value >>> 0, true);
    else if (size === 2) this.#view.setUint16(at, value, true);
    else this.#bytes[at] = value;
  }
}

const allBits = (size: number): number => (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1);

const isBar = (at: number): boolean =>
  (at >= PCI_BASE_ADDRESS_0 && at < PCI_BASE_ADDRESS_0 + 4 * PCI_STD_NUM_BARS) ||
  (at >= PCI_ROM_ADDRESS && at < PCI_ROM_ADDRESS + 4);
