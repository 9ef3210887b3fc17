/**
 * Register map of capture, the frame grabber (PCI 1234:ca97). Registers are 32-bit, aligned
 * accesses only, little endian.
 */
import type { RegisterValues } from '../kit/register-file.ts';
import { defineRegisters } from '../kit/registers.ts';

export const ID_VALUE = 0xca970100;

/** The programming of a ring takes effect when RUN is set. */
const locked = 'while running';

export const REGISTERS = defineRegisters('zeros', {
  ID: { at: 0x00, access: 'ro', reset: ID_VALUE, what: 'device, and version 1.0' },
  CTRL: { at: 0x04, access: 'rw', reset: 0, what: 'bit 0 RUN, 1 STOP_WHEN_FULL, 2 IRQ_ENABLE; 31 RESET: write only' },
  STATUS: { at: 0x08, access: 'ro', computed: true, reset: 0, what: 'bit 0 RUNNING, 1 FULL, 2 FAULT' },
  IRQ_STATUS: { at: 0x0c, access: 'w1c', reset: 0, what: 'bit 0 FRAMES, 1 OVERRUN, 2 FAULT' },
  RING_LO: { at: 0x10, access: 'rw', reset: 0, locked, what: 'iova of the ring, a multiple of 64' },
  RING_HI: { at: 0x14, access: 'rw', reset: 0, locked, what: 'its upper half' },
  FRAMES: { at: 0x18, access: 'rw', reset: 0, locked, what: 'slots: a power of two from 1 to 65536' },
  FRAME_SIZE: { at: 0x1c, access: 'rw', reset: 0, locked, what: 'bytes: a multiple of 64 from 64 to 1 MiB' },
  RATE: { at: 0x20, access: 'rw', reset: 0, what: 'frames per second, 0 = as fast as it can' },
  IRQ_EVERY: { at: 0x24, access: 'rw', reset: 0, what: 'an event every n frames, 0 = never' },
  WRITE_INDEX: {
    at: 0x28,
    access: 'ro',
    reset: 0,
    what: 'frames written since RUN, mod 2^32; slot = index mod FRAMES',
  },
  READ_INDEX: { at: 0x2c, access: 'rw', reset: 0, what: 'frames consumed, mod 2^32' },
  DROPPED: { at: 0x30, access: 'ro', reset: 0, what: 'frames overwritten unread, or not taken because full, mod 2^32' },
  FAULTS: { at: 0x34, access: 'ro', reset: 0, what: 'DMA transactions refused, mod 2^32' },
  INDEX_LO: {
    at: 0x38,
    access: 'rw',
    reset: 0,
    locked,
    what: 'iova of the write-back {u32 WRITE_INDEX, u32 DROPPED}, a multiple of 8, 0 = none',
  },
  INDEX_HI: { at: 0x3c, access: 'rw', reset: 0, locked, what: 'its upper half' },
  BYTES_LO: { at: 0x40, access: 'ro', computed: true, reset: 0, what: 'bytes written' },
  BYTES_HI: { at: 0x44, access: 'ro', computed: true, reset: 0, what: 'their upper half' },
});

/** Offsets. */
export const REG = REGISTERS.at;
/** The values that the device keeps, by name. */
export type Values = RegisterValues<typeof REGISTERS.registers>;

export const CTRL_RUN = 1 << 0;
export const CTRL_STOP_WHEN_FULL = 1 << 1; // 0 = drop oldest
export const CTRL_IRQ_ENABLE = 1 << 2;
export const CTRL_RESET = 0x8000_0000; // write 1: all registers to their reset values

export const STATUS_RUNNING = 1 << 0; // RUN was accepted
export const STATUS_FULL = 1 << 1; // takes no frames until READ_INDEX makes room
export const STATUS_FAULT = 1 << 2; // a DMA was refused since RUN, or RUN was, for bad programming

export const IRQ_FRAMES = 1 << 0;
export const IRQ_OVERRUN = 1 << 1;
export const IRQ_FAULT = 1 << 2;

export const MAX_FRAMES = 65536;
export const MIN_FRAME_SIZE = 64;
export const MAX_FRAME_SIZE = 1 << 20;
