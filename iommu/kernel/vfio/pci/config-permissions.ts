/**
 * The permissions for the bits of configuration space: the tables of vfio_pci_config.c (struct
 * perm_bits). A bit is virtual (it lives in the shadow copy) or the hardware's. It is writable or
 * not.
 */
import {
  PCI_AF_CTRL,
  PCI_AF_CTRL_FLR,
  PCI_BASE_ADDRESS_0,
  PCI_BIST,
  PCI_CACHE_LINE_SIZE,
  PCI_CAP_AF_SIZEOF,
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2,
  PCI_CAP_LIST_NEXT,
  PCI_CAPABILITY_LIST,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_DEVICE_ID,
  PCI_ERR_CAP,
  PCI_ERR_CAP_ECRC_CHKE,
  PCI_ERR_CAP_ECRC_GENE,
  PCI_ERR_COR_ALL,
  PCI_ERR_COR_MASK,
  PCI_ERR_COR_STATUS,
  PCI_ERR_ROOT_COMMAND,
  PCI_ERR_UNC_ALL,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_SEVER,
  PCI_ERR_UNCOR_STATUS,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXP_DEVCTL_PAYLOAD,
  PCI_EXP_DEVCTL_PHANTOM,
  PCI_EXP_DEVCTL_READRQ,
  PCI_EXP_DEVCTL2,
  PCI_EXP_DEVCTL2_ARI,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_LATENCY_TIMER,
  PCI_MSI_ADDRESS_HI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_DATA_32,
  PCI_MSI_DATA_64,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_MASKBIT,
  PCI_MSI_MASK_32,
  PCI_MSI_MASK_64,
  PCI_MSI_PENDING_32,
  PCI_MSI_PENDING_64,
  PCI_ROM_ADDRESS,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
  PCI_VENDOR_ID,
} from '../../../abi/pci-regs.ts';
import { littleEndian } from './little-endian.ts';

const NONE = 0;
const ALL = 0xffff_ffff;

export class Permissions {
  readonly length: number;
  readonly #virtual: Uint8Array;
  readonly #writable: Uint8Array;

  constructor(length: number) {
    this.length = length;
    this.#virtual = new Uint8Array(length);
    this.#writable = new Uint8Array(length);
  }

  /** p_setb, p_setw, p_setd: sets `size` bytes at `offset`. */
  set(offset: number, size: 1 | 2 | 4, virtual: number, writable: number): void {
    for (let i = 0; i < size; i++) {
      this.#virtual[offset + i] = virtual >>> (8 * i);
      this.#writable[offset + i] = writable >>> (8 * i);
    }
  }

  virtual(offset: number, size: number): number {
    return littleEndian(this.#virtual, offset, size);
  }

  writable(offset: number, size: number): number {
    return littleEndian(this.#writable, offset, size);
  }
}

/** init_pci_cap_basic_perm: the header of a type 0 function. */
export function headerPermissions(): Permissions {
  const header = new Permissions(PCI_STD_HEADER_SIZEOF);
  header.set(PCI_VENDOR_ID, 2, ALL, NONE);
  header.set(PCI_DEVICE_ID, 2, ALL, NONE);
  // INTx disable is the kernel's own tool for masking.
  header.set(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE, ALL);
  header.set(PCI_STATUS, 2, PCI_STATUS_CAP_LIST, NONE);
  header.set(PCI_CACHE_LINE_SIZE, 1, NONE, ALL);
  header.set(PCI_LATENCY_TIMER, 1, NONE, ALL);
  header.set(PCI_BIST, 1, NONE, ALL);
  for (let i = 0; i < PCI_STD_NUM_BARS; i++) header.set(PCI_BASE_ADDRESS_0 + 4 * i, 4, ALL, ALL);
  header.set(PCI_ROM_ADDRESS, 4, ALL, ALL);
  header.set(PCI_CAPABILITY_LIST, 1, ALL, NONE);
  header.set(PCI_INTERRUPT_LINE, 1, ALL, ALL);
  header.set(PCI_INTERRUPT_PIN, 1, ALL, NONE);
  return header;
}

/** vfio_msi_cap_len */
export function msiLength(flags: number): number {
  return 10 + ((flags & PCI_MSI_FLAGS_64BIT) !== 0 ? 4 : 0) + ((flags & PCI_MSI_FLAGS_MASKBIT) !== 0 ? 10 : 0);
}

/**
 * init_pci_cap_msi_perm. The user's address and data never reach the hardware. MSI is enabled
 * through SET_IRQS.
 */
export function msiPermissions(flags: number): Permissions {
  const is64 = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
  const msi = new Permissions(msiLength(flags));
  msi.set(PCI_CAP_LIST_NEXT, 1, ALL, NONE);
  msi.set(PCI_MSI_FLAGS, 1, ALL, ALL);
  msi.set(PCI_MSI_ADDRESS_LO, 4, ALL, ALL);
  if (is64) msi.set(PCI_MSI_ADDRESS_HI, 4, ALL, ALL);
  msi.set(is64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32, 2, ALL, ALL);
  if ((flags & PCI_MSI_FLAGS_MASKBIT) !== 0) {
    msi.set(is64 ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32, 4, NONE, ALL);
    msi.set(is64 ? PCI_MSI_PENDING_64 : PCI_MSI_PENDING_32, 4, NONE, ALL);
  }
  return msi;
}

/**
 * init_pci_cap_exp_perm. Control fields reach the hardware but for phantom functions and ARI. The
 * user's reset bit and payload sizes are virtual.
 */
export function expressPermissions(length: number): Permissions {
  const express = new Permissions(Math.max(length, PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2));
  express.set(PCI_CAP_LIST_NEXT, 1, ALL, NONE);
  const virtual = PCI_EXP_DEVCTL_BCR_FLR | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ;
  express.set(PCI_EXP_DEVCTL, 2, virtual, ~PCI_EXP_DEVCTL_PHANTOM);
  express.set(PCI_EXP_DEVCTL2, 2, NONE, ~PCI_EXP_DEVCTL2_ARI);
  return express;
}

/** init_pci_ext_cap_err_perm: all but the header and the log. */
export function errorPermissions(): Permissions {
  const errors = new Permissions(PCI_ERR_ROOT_COMMAND);
  errors.set(0, 4, ALL, NONE);
  for (const at of [PCI_ERR_UNCOR_STATUS, PCI_ERR_UNCOR_MASK, PCI_ERR_UNCOR_SEVER]) {
    errors.set(at, 4, NONE, PCI_ERR_UNC_ALL);
  }
  for (const at of [PCI_ERR_COR_STATUS, PCI_ERR_COR_MASK]) errors.set(at, 4, NONE, PCI_ERR_COR_ALL);
  errors.set(PCI_ERR_CAP, 4, NONE, PCI_ERR_CAP_ECRC_GENE | PCI_ERR_CAP_ECRC_CHKE);
  return errors;
}

/**
 * init_pci_cap_af_perm. The user's write of the reset bit is seen and does not reach the hardware.
 */
export function afPermissions(): Permissions {
  const af = new Permissions(PCI_CAP_AF_SIZEOF);
  af.set(PCI_CAP_LIST_NEXT, 1, ALL, NONE);
  af.set(PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR, PCI_AF_CTRL_FLR);
  return af;
}
