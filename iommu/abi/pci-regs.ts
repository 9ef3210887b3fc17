/**
 * Offsets and bits of linux/pci_regs.h, for the part of configuration space that our devices have
 * or vfio-pci knows (PCI 3.0 §6.1, §6.2, §6.7, §6.8).
 */

export const PCI_CFG_SPACE_SIZE = 256;
export const PCI_CFG_SPACE_EXP_SIZE = 4096;
export const PCI_STD_HEADER_SIZEOF = 64;

export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_COMMAND_IO = 1 << 0;
export const PCI_COMMAND_MEMORY = 1 << 1;
export const PCI_COMMAND_MASTER = 1 << 2;
export const PCI_COMMAND_SERR = 1 << 8;
export const PCI_COMMAND_INTX_DISABLE = 1 << 10;
export const PCI_STATUS = 0x06;
export const PCI_STATUS_INTERRUPT = 1 << 3;
export const PCI_STATUS_CAP_LIST = 1 << 4;
export const PCI_REVISION_ID = 0x08;
export const PCI_CLASS_PROG = 0x09;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_LATENCY_TIMER = 0x0d;
export const PCI_BIST = 0x0f;
export const PCI_BASE_ADDRESS_0 = 0x10;
export const PCI_STD_NUM_BARS = 6;
export const PCI_BASE_ADDRESS_SPACE_IO = 1 << 0;
export const PCI_BASE_ADDRESS_MEM_TYPE_64 = 1 << 2;
export const PCI_BASE_ADDRESS_MEM_PREFETCH = 1 << 3;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_ROM_ADDRESS = 0x30;
export const PCI_ROM_ADDRESS_ENABLE = 1 << 0;
export const PCI_ROM_ADDRESS_MASK = 0xffff_f800;
export const PCI_CAPABILITY_LIST = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;

export const PCI_CAP_LIST_NEXT = 1;
export const PCI_CAP_SIZEOF = 4;

export const PCI_CAP_ID_PM = 0x01;
export const PCI_CAP_ID_VPD = 0x03;
export const PCI_CAP_ID_MSI = 0x05;
export const PCI_CAP_ID_VNDR = 0x09;
export const PCI_CAP_ID_EXP = 0x10;
export const PCI_CAP_ID_MSIX = 0x11;
export const PCI_CAP_ID_AF = 0x13;

export const PCI_EXP_FLAGS = 0x02;
export const PCI_EXP_FLAGS_VERS = 0x000f;
export const PCI_EXP_FLAGS_TYPE = 0x00f0;
export const PCI_EXP_TYPE_RC_END = 9; // an endpoint in the root complex: no link
export const PCI_EXP_DEVCAP = 0x04;
export const PCI_EXP_DEVCAP_RBER = 1 << 15; // role-based error reporting
export const PCI_EXP_DEVCAP_FLR = 1 << 28;
export const PCI_EXP_DEVCTL = 0x08;
export const PCI_EXP_DEVCTL_RELAX_EN = 1 << 4;
export const PCI_EXP_DEVCTL_PAYLOAD = 0x00e0;
export const PCI_EXP_DEVCTL_PHANTOM = 1 << 9;
export const PCI_EXP_DEVCTL_NOSNOOP_EN = 1 << 11;
export const PCI_EXP_DEVCTL_READRQ = 0x7000;
export const PCI_EXP_DEVCTL_READRQ_512B = 0x2000;
export const PCI_EXP_DEVCTL_BCR_FLR = 1 << 15; // starts the reset, reads 0
export const PCI_EXP_DEVCTL2 = 0x28;
export const PCI_EXP_DEVCTL2_COMP_TIMEOUT = 0x000f;
export const PCI_EXP_DEVCTL2_ARI = 1 << 5;
export const PCI_CAP_EXP_ENDPOINT_SIZEOF_V1 = 20;
export const PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1 = 12;
export const PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2 = 44;
export const PCI_CAP_EXP_ENDPOINT_SIZEOF_V2 = 60;

/** Extended capabilities, from 256 on: id 15:0, version 19:16, next 31:20. */
export const PCI_EXT_CAP_ID_ERR = 0x01;
export const PCI_EXT_CAP_ID_DSN = 0x03;
export const PCI_EXT_CAP_ID_PWR = 0x04;
export const PCI_EXT_CAP_ID_VNDR = 0x0b;
export const PCI_EXT_CAP_ID_ARI = 0x0e;
export const PCI_EXT_CAP_ID_ATS = 0x0f;
export const PCI_EXT_CAP_ID_SRIOV = 0x10;
export const PCI_EXT_CAP_ID_PRI = 0x13;
export const PCI_EXT_CAP_ID_LTR = 0x18;
export const PCI_EXT_CAP_DSN_SIZEOF = 12;

export const PCI_ERR_UNCOR_STATUS = 0x04;
export const PCI_ERR_UNCOR_MASK = 0x08;
export const PCI_ERR_UNCOR_SEVER = 0x0c;
export const PCI_ERR_COR_STATUS = 0x10;
export const PCI_ERR_COR_MASK = 0x14;
export const PCI_ERR_CAP = 0x18;
export const PCI_ERR_UNC_INTN = 1 << 22; // an uncorrectable error inside the device
/** All bits of uncorrectable and of correctable errors that PCI Express names. */
export const PCI_ERR_UNC_ALL = 0x03ff_f031;
export const PCI_ERR_COR_ALL = 0x0000_f1c1;
export const PCI_ERR_CAP_ECRC_GENE = 1 << 6;
export const PCI_ERR_CAP_ECRC_CHKE = 1 << 8;
export const PCI_ERR_ROOT_COMMAND = 0x2c; // of root ports; an endpoint's capability ends there

/** Advanced Features: a conventional function that can be reset by itself. */
export const PCI_AF_LENGTH = 0x02;
export const PCI_AF_CAP = 0x03;
export const PCI_AF_CAP_TP = 1 << 0; // it tells of transactions that are pending
export const PCI_AF_CAP_FLR = 1 << 1;
export const PCI_AF_CTRL = 0x04;
export const PCI_AF_CTRL_FLR = 1 << 0; // starts the reset, reads 0
export const PCI_AF_STATUS = 0x05;
export const PCI_CAP_AF_SIZEOF = 6;

export const PCI_MSI_FLAGS = 0x02;
export const PCI_MSI_FLAGS_ENABLE = 1 << 0;
export const PCI_MSI_FLAGS_QMASK = 0x0e; // vectors it can have, log2
export const PCI_MSI_FLAGS_QSIZE = 0x70; // vectors it is given, log2
export const PCI_MSI_FLAGS_64BIT = 1 << 7;
export const PCI_MSI_FLAGS_MASKBIT = 1 << 8;
export const PCI_MSI_ADDRESS_LO = 0x04;
export const PCI_MSI_ADDRESS_HI = 0x08;
export const PCI_MSI_DATA_32 = 0x08;
export const PCI_MSI_DATA_64 = 0x0c;
export const PCI_MSI_MASK_32 = 0x0c;
export const PCI_MSI_MASK_64 = 0x10;
export const PCI_MSI_PENDING_32 = 0x10;
export const PCI_MSI_PENDING_64 = 0x14;

export const PCI_MSIX_FLAGS = 0x02;
export const PCI_MSIX_FLAGS_QSIZE = 0x7ff; // vectors of the table, less one
export const PCI_MSIX_FLAGS_MASKALL = 1 << 14;
export const PCI_MSIX_FLAGS_ENABLE = 1 << 15;
export const PCI_MSIX_TABLE = 0x04;
export const PCI_MSIX_TABLE_BIR = 0x7; // which BAR; the other bits are the offset in it
export const PCI_MSIX_PBA = 0x08;
export const PCI_CAP_MSIX_SIZEOF = 12;
export const PCI_MSIX_ENTRY_SIZE = 16;
export const PCI_MSIX_ENTRY_LOWER_ADDR = 0x0;
export const PCI_MSIX_ENTRY_UPPER_ADDR = 0x4;
export const PCI_MSIX_ENTRY_DATA = 0x8;
export const PCI_MSIX_ENTRY_VECTOR_CTRL = 0xc;
export const PCI_MSIX_ENTRY_CTRL_MASKBIT = 1 << 0;
