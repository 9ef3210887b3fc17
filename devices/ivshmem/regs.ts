/**
 * Register map of ivshmem, revision 1 (QEMU docs/specs/ivshmem-spec.rst; docs/machine.md,
 * "ivshmem"): BAR 0, 32-bit, little endian.
 */
import { defineRegisters } from '../kit/registers.ts';

export const REGISTERS = defineRegisters('zeros', {
  INTR_MASK: { at: 0x00, access: 'rw', reset: 0, what: 'of revision 0, without effect' },
  INTR_STATUS: {
    at: 0x04,
    access: 'rw',
    computed: true,
    reset: 0,
    what: 'a read clears it; of revision 0, without effect',
  },
  IV_POSITION: { at: 0x08, access: 'ro', reset: 0, what: 'own id; 0 without a server' },
  DOORBELL: { at: 0x0c, access: 'wo', what: 'peer << 16 | vector; ignored without a server' },
});

/** Offsets. */
export const REG = REGISTERS.at;

export const REGISTER_BYTES = 256;

/** BAR 2: the shared memory. */
export const MEMORY_BAR = 2;
