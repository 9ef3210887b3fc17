/**
 * mscribe, PCI 1234:5c1b: a copy engine in software, with no IOMMU in front. BAR 0 is 4 KiB of
 * registers, little endian, read and written by 32 bits; other sizes and offsets read as ones and
 * are not written.
 *
 * Jobs are descriptors in a ring in guest memory. HEAD and TAIL count descriptors since ENABLE, mod
 * 2^32; descriptor n is in slot n mod RING_SIZE. The driver fills slots and moves TAIL. The device
 * carries jobs out in order, writes each one's status, and then moves HEAD. TAIL may be at most
 * RING_SIZE ahead of HEAD; further is an error.
 *
 * Source and destination of a job (Descriptor) are read and written in ascending order, 64 KiB at a
 * time; they may overlap in one such part.
 *
 * A refused access to source or destination ends the job with its status, and the device goes on. A
 * refused access to the ring ends everything: STATUS.ERROR, an interrupt, and nothing more until
 * RESET. The status of a job is in memory before its interrupt (MSI, or INTx while CAUSE is not 0).
 */
import { defineStruct, u32, u64 } from '../../platform/struct.ts';
import type { RegisterValues } from '../kit/register-file.ts';
import { defineRegisters } from '../kit/registers.ts';

export const BAR_BYTES = 4096;

/** Device id and version 1. */
export const ID_VALUE = 0x5c1b0001;

const locked = 'while enabled';

export const REGISTERS = defineRegisters('ones', {
  ID: { at: 0x00, access: 'ro', reset: ID_VALUE, what: 'device and version' },
  CONTROL: { at: 0x04, access: 'rw', reset: 0, what: 'bit 0 ENABLE, 1 RESET: write only' },
  STATUS: { at: 0x08, access: 'ro', computed: true, reset: 0, what: 'bit 0 BUSY, 1 ERROR' },
  CAUSE: { at: 0x0c, access: 'w1c', reset: 0, what: 'why it interrupts: bit 0 JOB, 1 ERROR' },
  RING_LO: { at: 0x10, access: 'rw', reset: 0, locked, what: 'iova of the ring, a multiple of 32' },
  RING_HI: { at: 0x14, access: 'rw', reset: 0, locked, what: 'its upper half' },
  RING_SIZE: { at: 0x18, access: 'rw', reset: 0, locked, what: 'descriptors: a power of two from 2 to 4096' },
  HEAD: { at: 0x1c, access: 'ro', reset: 0, what: 'descriptors done since ENABLE, mod 2^32' },
  TAIL: { at: 0x20, access: 'rw', reset: 0, what: 'descriptors filled since ENABLE, mod 2^32' },
  JOBS: { at: 0x24, access: 'ro', reset: 0, what: 'jobs ended since RESET, mod 2^32' },
  FAILED: { at: 0x28, access: 'ro', reset: 0, what: 'those of them whose status is not STATUS_DONE' },
});

/** Offsets. */
export const REG = REGISTERS.at;
/** The values that the device keeps, by name. */
export type Values = RegisterValues<typeof REGISTERS.registers>;

/**
 * The device takes jobs. Setting this bit starts at HEAD = TAIL = 0, with ring and size as they are
 * then. A bad ring is an ERROR at once.
 */
export const CONTROL_ENABLE = 1 << 0;
/** Write only: everything as after power-on. A job under way is dropped where it is. */
export const CONTROL_RESET = 1 << 1;

/** HEAD is not TAIL. */
export const STATE_BUSY = 1 << 0;
/** The ring or TAIL is bad, or the ring cannot be reached. */
export const STATE_ERROR = 1 << 1;

/** A job with IRQ has ended. */
export const CAUSE_JOB = 1 << 0;
export const CAUSE_ERROR = 1 << 1;

/** A job in the ring, at a multiple of 32. */
export const Descriptor = defineStruct('mscribe descriptor', {
  command: u32, // bits 7:0 operation, bit 8 IRQ: interrupt when it is done
  length: u32, // bytes, 1 to MAX_LENGTH
  source: u64, // copy: iova; fill: 8 bytes to repeat
  destination: u64, // iova
  written: u32, // by the device: bytes written to the destination
  status: u32, // by the device, at once with `written` and after all else: one of STATUS_*
});
export const DESCRIPTOR_BYTES = Descriptor.size;
export const MAX_LENGTH = 1 << 20;
export const OP_MASK = 0xff;
export const OP_COPY = 1;
export const OP_FILL = 2;
export const JOB_IRQ = 1 << 8;

export const STATUS_DONE = 1;
export const STATUS_BAD_OPERATION = 2;
export const STATUS_BAD_LENGTH = 3;
export const STATUS_SOURCE_REFUSED = 4;
export const STATUS_DESTINATION_REFUSED = 5;
