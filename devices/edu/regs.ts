/**
 * Register map of edu (QEMU docs/specs/edu.rst; docs/machine.md, "edu: registers"). All registers
 * little endian.
 */

export const REG_ID = 0x00; // RO
export const REG_LIVENESS = 0x04; // RW, reads back inverted
export const REG_FACTORIAL = 0x08; // RW
export const REG_STATUS = 0x20; // RW
export const REG_IRQ_STATUS = 0x24; // RO
export const REG_IRQ_RAISE = 0x60; // WO
export const REG_IRQ_ACK = 0x64; // WO
export const REG_DMA_SOURCE = 0x80; // RW, 4 or 8 bytes; so the next three
export const REG_DMA_DESTINATION = 0x88;
export const REG_DMA_COUNT = 0x90;
export const REG_DMA_COMMAND = 0x98;
/** From here on accesses may be 8 bytes wide. */
export const WIDE_REGISTERS = 0x80;

/** RRrr00ed with version 1.0, as the hardware reads it. */
export const ID_VALUE = 0x010000ed;

export const STATUS_COMPUTING = 0x01; // RO
export const STATUS_IRQ_FACTORIAL = 0x80;

export const IRQ_FACTORIAL = 0x001;
export const IRQ_DMA = 0x100;

export const DMA_RUN = 1n << 0n;
export const DMA_TO_BUS = 1n << 1n; // direction: 0 bus → device, 1 device → bus
export const DMA_IRQ = 1n << 2n;

/** The internal buffer as the other operand of a transfer: [start, end). Not visible through the BAR. */
export const BUFFER_START = 0x40000n;
export const BUFFER_BYTES = 4096;
export const BUFFER_END = BUFFER_START + BigInt(BUFFER_BYTES);
