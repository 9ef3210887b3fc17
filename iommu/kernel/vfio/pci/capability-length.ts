/**
 * How long capabilities are: the tables of vfio_pci_config.c. A capability of length 0 is hidden
 * from users. Those that no device here has, nor a test, are hidden, too.
 */
import {
  PCI_CAP_EXP_ENDPOINT_SIZEOF_V1,
  PCI_CAP_EXP_ENDPOINT_SIZEOF_V2,
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1,
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2,
  PCI_CAP_ID_AF,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_PM,
  PCI_CAP_ID_VNDR,
  PCI_CAP_ID_VPD,
  PCI_ERR_ROOT_COMMAND,
  PCI_EXP_FLAGS_TYPE,
  PCI_EXP_FLAGS_VERS,
  PCI_EXP_TYPE_RC_END,
  PCI_EXT_CAP_DSN_SIZEOF,
  PCI_EXT_CAP_ID_ARI,
  PCI_EXT_CAP_ID_ATS,
  PCI_EXT_CAP_ID_DSN,
  PCI_EXT_CAP_ID_ERR,
  PCI_EXT_CAP_ID_LTR,
  PCI_EXT_CAP_ID_PRI,
  PCI_EXT_CAP_ID_PWR,
  PCI_EXT_CAP_ID_SRIOV,
  PCI_EXT_CAP_ID_VNDR,
} from '../../../abi/pci-regs.ts';
import { msiLength } from './config-permissions.ts';

/**
 * pci_cap_length, vfio_cap_len. Length 0 hides the capability. `flags` are the two bytes after the
 * capability's header.
 */
export function capabilityLength(id: number, flags: number): number {
  switch (id) {
    case PCI_CAP_ID_PM:
    case PCI_CAP_ID_VPD:
      return 8;
    case PCI_CAP_ID_MSI:
      return msiLength(flags);
    case PCI_CAP_ID_VNDR:
      return flags & 0xff;
    case PCI_CAP_ID_EXP:
      return expressLength(flags);
    case PCI_CAP_ID_MSIX:
      return 12;
    case PCI_CAP_ID_AF:
      return 6;
  }
  return 0;
}

/** An endpoint in the root complex has no registers of a link. */
function expressLength(flags: number): number {
  const isInRoot = (flags & PCI_EXP_FLAGS_TYPE) >> 4 === PCI_EXP_TYPE_RC_END;
  if ((flags & PCI_EXP_FLAGS_VERS) === 1) {
    return isInRoot ? PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1 : PCI_CAP_EXP_ENDPOINT_SIZEOF_V1;
  }
  return isInRoot ? PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2 : PCI_CAP_EXP_ENDPOINT_SIZEOF_V2;
}

/**
 * pci_ext_cap_length, vfio_ext_cap_len. `second` is the dword after the capability's header. NOT
 * MODELLED: those whose length follows from their contents, but for the vendor's own.
 */
export function extendedLength(id: number, second: number): number {
  switch (id) {
    case PCI_EXT_CAP_ID_ERR:
      return PCI_ERR_ROOT_COMMAND;
    case PCI_EXT_CAP_ID_DSN:
      return PCI_EXT_CAP_DSN_SIZEOF;
    case PCI_EXT_CAP_ID_PWR:
    case PCI_EXT_CAP_ID_PRI:
      return 16;
    case PCI_EXT_CAP_ID_VNDR:
      return second >>> 20;
    case PCI_EXT_CAP_ID_ARI:
    case PCI_EXT_CAP_ID_ATS:
    case PCI_EXT_CAP_ID_LTR:
      return 8;
    case PCI_EXT_CAP_ID_SRIOV:
      return 64;
  }
  return 0;
}
