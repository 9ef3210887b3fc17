/**
 * The header of pci-testdev's tests (QEMU docs/specs/pci-testdev.rst; docs/machine.md,
 * "pci-testdev"). It is at the start of BAR 0 and of BAR 1.
 */
import { defineRegisters } from '../kit/registers.ts';

const byte = { width: 1, access: 'ro', computed: true, reset: 0 } as const;
const written = { width: 1, access: 'wo', count: 3 } as const;

export const REGISTERS = defineRegisters('zeros', {
  TEST: {
    ...byte,
    at: 0x00,
    access: 'rw',
    what: 'number of the test; a write selects one of this BAR and clears COUNT',
  },
  WIDTH: { ...byte, at: 0x01, what: 'bytes of the accesses under test' },
  OFFSET: { ...byte, at: 0x04, count: 4, what: 'u32: where to write in the BAR' },
  DATA: { ...byte, at: 0x08, what: 'what to write there' },
  COUNT: { ...byte, at: 0x0c, count: 4, what: 'u32: how often that was done' },
  NAME: { ...byte, at: 0x10, count: 32, what: 'name of the test, NUL-terminated' },
  PORTIO_TEST: { ...written, at: 0x83, what: 'where the tests of BAR 1 write' },
  MMIO_TEST: { ...written, at: 0x800, what: 'where the tests of BAR 0 write' },
});

/** Offsets. */
export const REG = REGISTERS.at;

export const MEMORY_BYTES = 4096;
export const PORT_BYTES = 256;
export const MEMBAR = 2;
