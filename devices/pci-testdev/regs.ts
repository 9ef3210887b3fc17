/**
 * Header of pci-testdev's tests (QEMU docs/specs/pci-testdev.rst; docs/machine.md, "pci-testdev"):
 * at the start of BAR 0 and of BAR 1.
 */

export const HEADER_TEST = 0x00; // u8; written: selects a test
export const HEADER_WIDTH = 0x01; // u8, width of the accesses under test
export const HEADER_OFFSET = 0x04; // u32, where to write in the BAR
export const HEADER_DATA = 0x08; // u8, what to write there
export const HEADER_COUNT = 0x0c; // u32, how often that was done
export const HEADER_NAME = 0x10; // NUL-terminated

export const MEMORY_BYTES = 4096;
export const PORT_BYTES = 256;
export const MEMBAR = 2;
