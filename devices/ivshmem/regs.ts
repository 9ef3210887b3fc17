/**
 * Register map of ivshmem, revision 1 (QEMU docs/specs/ivshmem-spec.rst; docs/machine.md,
 * "ivshmem"): BAR 0, 32-bit, little endian.
 */

export const REG_INTR_MASK = 0x00; // RW; of revision 0, without effect
export const REG_INTR_STATUS = 0x04; // RW, a read clears it; of revision 0, without effect
export const REG_IV_POSITION = 0x08; // RO, own id; 0 without a server
export const REG_DOORBELL = 0x0c; // WO, peer << 16 | vector; ignored without a server
export const REGISTER_BYTES = 256;

/** BAR 2: the shared memory. */
export const MEMORY_BAR = 2;
