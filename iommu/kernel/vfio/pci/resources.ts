/**
 * The resources of a function: BARs, capabilities, interrupts. The PCI core finds them once, when
 * the kernel starts.
 */

import {
  PCI_AF_CAP,
  PCI_AF_CAP_FLR,
  PCI_AF_CAP_TP,
  PCI_AF_CTRL,
  PCI_AF_CTRL_FLR,
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_CAP_ID_AF,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_MSIX,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_CFG_SPACE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_EXP_DEVCAP,
  PCI_EXP_DEVCAP_FLR,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXT_CAP_ID_ERR,
  PCI_INTERRUPT_PIN,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_QMASK,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_MSIX_TABLE,
  PCI_MSIX_TABLE_BIR,
  PCI_ROM_ADDRESS,
  PCI_ROM_ADDRESS_MASK,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
} from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';

export interface Bar {
  readonly index: number;
  readonly space: 'memory' | 'io';
  /** The place that firmware has given the BAR: a pa, or a port. */
  readonly start: number;
  readonly size: number;
  /** The type bits of the BAR's register (vfio_generate_bar_flags). */
  readonly flags: number;
}

export interface Capability {
  readonly id: number;
  readonly at: number;
}

export interface MsixTable {
  /** Offset of the capability. */
  readonly at: number;
  readonly bar: number;
  /** [offset, offset + size) in that BAR. */
  readonly offset: number;
  readonly size: number;
  readonly nrVectors: number;
}

export interface PciResources {
  /** 256, or 4096 for a PCI Express function. */
  readonly configSize: number;
  /**
   * The BARs by index. Undefined for a BAR that does not exist, and for the upper half of a 64-bit
   * BAR.
   */
  readonly bars: readonly (Bar | undefined)[];
  /** Bytes of the expansion ROM; 0 without one. */
  readonly romSize: number;
  readonly capabilities: readonly Capability[];
  /** Those of the extended configuration space, in the order of their chain. */
  readonly extended: readonly Capability[];
  readonly hasIntx: boolean;
  readonly msi: { readonly at: number; readonly is64: boolean; readonly maxVectors: number } | undefined;
  readonly msix: MsixTable | undefined;
  readonly isPcie: boolean;
  /** Offset of Advanced Error Reporting. */
  readonly errors: number | undefined;
  /** How the function can be reset by itself; undefined: it cannot. */
  readonly flr: FunctionReset | undefined;
}

/** Writing `value` at `at` of configuration space resets the function. */
export interface FunctionReset {
  readonly at: number;
  readonly size: 1 | 2;
  readonly value: number;
}

/** Type bits of a BAR register. */
const MEMORY_FLAGS = 0xf;
const IO_FLAGS = 0x3;
const U64 = 0xffff_ffff_ffff_ffffn;

export function findResources(pci: PciAccess): PciResources {
  const capabilities = findCapabilities(pci);
  const at = (id: number): number | undefined => capabilities.find((one) => one.id === id)?.at;
  const msi = at(PCI_CAP_ID_MSI);
  const msix = at(PCI_CAP_ID_MSIX);
  const express = at(PCI_CAP_ID_EXP);
  const configSize = express === undefined ? PCI_CFG_SPACE_SIZE : sizeOfConfig(pci);
  const extended = findExtended(pci, configSize);
  return {
    configSize,
    bars: sizeBars(pci),
    romSize: sizeRom(pci),
    capabilities,
    extended,
    errors: extended.find(({ id }) => id === PCI_EXT_CAP_ID_ERR)?.at,
    hasIntx: pci.readConfig(PCI_INTERRUPT_PIN, 1) !== 0,
    msi: msi === undefined ? undefined : msiOf(pci, msi),
    msix: msix === undefined ? undefined : msixOf(pci, msix),
    isPcie: express !== undefined,
    flr: expressReset(pci, express) ?? conventionalReset(pci, at(PCI_CAP_ID_AF)),
  };
}

/**
 * PCI 3.0 §6.2.5.1: all ones are written to each BAR, and the address bits that stick tell its
 * size. Decoding is off meanwhile.
 */
function sizeBars(pci: PciAccess): (Bar | undefined)[] {
  const command = pci.readConfig(PCI_COMMAND, 2);
  pci.writeConfig(PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
  const bars: (Bar | undefined)[] = Array.from({ length: PCI_STD_NUM_BARS }, () => undefined);
  for (let index = 0; index < PCI_STD_NUM_BARS; index++) {
    const { mask, was } = stickyBits(pci, index);
    // there is no BAR, or no device answers (__pci_read_base)
    if (mask === 0 || mask === 0xffff_ffff) continue;
    if ((was & PCI_BASE_ADDRESS_SPACE_IO) !== 0) {
      const size = -(mask & ~IO_FLAGS) >>> 0;
      bars[index] = { index, space: 'io', start: (was & ~IO_FLAGS) >>> 0, size, flags: PCI_BASE_ADDRESS_SPACE_IO };
      continue;
    }
    const flags = was & (PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
    const is64 = (flags & PCI_BASE_ADDRESS_MEM_TYPE_64) !== 0;
    const upper = is64 ? stickyBits(pci, index + 1) : { mask: 0xffff_ffff, was: 0 };
    const size = Number(-((BigInt(upper.mask) << 32n) | BigInt((mask & ~MEMORY_FLAGS) >>> 0)) & U64);
    const start = upper.was * 2 ** 32 + ((was & ~MEMORY_FLAGS) >>> 0);
    bars[index] = { index, space: 'memory', start, size, flags };
    if (is64) index++;
  }
  pci.writeConfig(PCI_COMMAND, 2, command);
  return bars;
}

/** As sizeBars; the ROM does not decode meanwhile. */
function sizeRom(pci: PciAccess): number {
  const was = pci.readConfig(PCI_ROM_ADDRESS, 4);
  pci.writeConfig(PCI_ROM_ADDRESS, 4, PCI_ROM_ADDRESS_MASK);
  const mask = pci.readConfig(PCI_ROM_ADDRESS, 4) & PCI_ROM_ADDRESS_MASK;
  pci.writeConfig(PCI_ROM_ADDRESS, 4, was);
  return -mask >>> 0;
}

function stickyBits(pci: PciAccess, index: number): { readonly mask: number; readonly was: number } {
  const at = PCI_BASE_ADDRESS_0 + 4 * index;
  const was = pci.readConfig(at, 4);
  pci.writeConfig(at, 4, 0xffff_ffff);
  const mask = pci.readConfig(at, 4);
  pci.writeConfig(at, 4, was);
  return { mask, was };
}

/**
 * Follows the chain from 0x34. It ends where the chain loops or leaves configuration space (PCI 3.0
 * §6.7).
 */
function findCapabilities(pci: PciAccess): Capability[] {
  const found: Capability[] = [];
  if ((pci.readConfig(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) === 0) return found;
  let at = pci.readConfig(PCI_CAPABILITY_LIST, 1) & ~3;
  while (at >= PCI_STD_HEADER_SIZEOF && !found.some((one) => one.at === at)) {
    found.push({ id: pci.readConfig(at, 1), at });
    at = pci.readConfig(at + 1, 1) & ~3;
  }
  return found;
}

/** pci_cfg_space_size_ext: the space is there if something answers behind the first 256 bytes. */
const sizeOfConfig = (pci: PciAccess): number =>
  pci.readConfig(PCI_CFG_SPACE_SIZE, 4) === 0xffff_ffff ? PCI_CFG_SPACE_SIZE : PCI_CFG_SPACE_EXP_SIZE;

/** The chain from 0x100: id 15:0, next 31:20. A header of zero says that there is none. */
function findExtended(pci: PciAccess, configSize: number): Capability[] {
  const found: Capability[] = [];
  for (let at = PCI_CFG_SPACE_SIZE; at >= PCI_CFG_SPACE_SIZE && at < configSize; ) {
    const header = pci.readConfig(at, 4);
    if (header === 0 || found.some((one) => one.at === at)) break;
    found.push({ id: header & 0xffff, at });
    at = (header >>> 20) & ~3;
  }
  return found;
}

/** pcie_reset_flr */
function expressReset(pci: PciAccess, at: number | undefined): FunctionReset | undefined {
  if (at === undefined || (pci.readConfig(at + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) === 0) return undefined;
  return { at: at + PCI_EXP_DEVCTL, size: 2, value: PCI_EXP_DEVCTL_BCR_FLR };
}

/** pci_af_flr: the reset must be there, and the bit that tells of pending transactions. */
function conventionalReset(pci: PciAccess, at: number | undefined): FunctionReset | undefined {
  const needed = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
  if (at === undefined || (pci.readConfig(at + PCI_AF_CAP, 1) & needed) !== needed) return undefined;
  return { at: at + PCI_AF_CTRL, size: 1, value: PCI_AF_CTRL_FLR };
}

function msiOf(pci: PciAccess, at: number): NonNullable<PciResources['msi']> {
  const flags = pci.readConfig(at + PCI_MSI_FLAGS, 2);
  const maxVectors = 1 << ((flags & PCI_MSI_FLAGS_QMASK) >> 1);
  return { at, is64: (flags & PCI_MSI_FLAGS_64BIT) !== 0, maxVectors };
}

function msixOf(pci: PciAccess, at: number): MsixTable {
  const nrVectors = (pci.readConfig(at + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
  const table = pci.readConfig(at + PCI_MSIX_TABLE, 4);
  const offset = (table & ~PCI_MSIX_TABLE_BIR) >>> 0;
  return { at, bar: table & PCI_MSIX_TABLE_BIR, offset, size: nrVectors * PCI_MSIX_ENTRY_SIZE, nrVectors };
}
