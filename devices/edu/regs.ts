/**
 * Register map of edu (QEMU docs/specs/edu.rst; docs/machine.md, "edu: registers"). All registers
 * little endian.
 */
import type { RegisterValues } from '../kit/register-file.ts';
import { defineRegisters } from '../kit/registers.ts';

/** RRrr00ed with version 1.0, as the hardware reads it. */
export const ID_VALUE = 0x010000ed;

const locked = 'while a transfer waits';

export const REGISTERS = defineRegisters('ones', {
  ID: { at: 0x00, access: 'ro', reset: ID_VALUE, what: 'RRrr00ed: version RR.rr' },
  LIVENESS: { at: 0x04, access: 'rw', reset: 0, what: 'reads back inverted' },
  FACTORIAL: {
    at: 0x08,
    access: 'rw',
    reset: 0,
    what: 'n; when COMPUTING has cleared, n! mod 2^32; not written meanwhile',
  },
  STATUS: {
    at: 0x20,
    access: 'rw',
    reset: 0,
    what: 'bit 0 COMPUTING: read only; 7 IRQ_FACTORIAL: interrupt when done',
  },
  IRQ_STATUS: { at: 0x24, access: 'ro', reset: 0, what: 'bit 0 FACTORIAL, 8 DMA; any by IRQ_RAISE' },
  IRQ_RAISE: { at: 0x60, access: 'wo', what: 'sets bits of IRQ_STATUS and interrupts' },
  IRQ_ACK: { at: 0x64, access: 'wo', what: 'clears bits of IRQ_STATUS' },
  DMA_SOURCE: { at: 0x80, width: 8, access: 'rw', reset: 0, locked, what: 'bus address, or address in the buffer' },
  DMA_DESTINATION: { at: 0x88, width: 8, access: 'rw', reset: 0, locked, what: 'as DMA_SOURCE' },
  DMA_COUNT: { at: 0x90, width: 8, access: 'rw', reset: 0, locked, what: 'bytes' },
  DMA_COMMAND: {
    at: 0x98,
    width: 8,
    access: 'rw',
    reset: 0,
    locked,
    what: 'bit 0 RUN, 1 TO_BUS, 2 IRQ; not written without RUN',
  },
});

/** Offsets. */
export const REG = REGISTERS.at;
/** The values that the device keeps, by name. */
export type Values = RegisterValues<typeof REGISTERS.registers>;

export const STATUS_COMPUTING = 0x01; // RO
export const STATUS_IRQ_FACTORIAL = 0x80;

export const IRQ_FACTORIAL = 0x001;
export const IRQ_DMA = 0x100;

export const DMA_RUN = 1n << 0n;
export const DMA_TO_BUS = 1n << 1n; // direction: 0 bus → device, 1 device → bus
export const DMA_IRQ = 1n << 2n;

/**
 * The start of the internal buffer, which is the other operand of a transfer: [start, end). It is
 * not visible through the BAR.
 */
export const BUFFER_START = 0x40000n;
export const BUFFER_BYTES = 4096;
export const BUFFER_END = BUFFER_START + BigInt(BUFFER_BYTES);
