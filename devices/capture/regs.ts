/** Register map of capture, the frame grabber (PCI 1234:ca97). Registers are 32-bit, aligned accesses only, little endian. */

export const REG_ID = 0x00; // RO
export const REG_CTRL = 0x04; // RW
export const REG_STATUS = 0x08; // RO
export const REG_IRQ_STATUS = 0x0c; // R/W1C
export const REG_RING_LO = 0x10; // RW, iova of the ring, 64-byte aligned; ignored while running, so the next three
export const REG_RING_HI = 0x14;
export const REG_FRAMES = 0x18; // RW, slots: a power of two, 1..65536
export const REG_FRAME_SIZE = 0x1c; // RW, bytes: a multiple of 64, 64..1 MiB
export const REG_RATE = 0x20; // RW, frames per second, 0 = as fast as it can
export const REG_IRQ_EVERY = 0x24; // RW, event every n frames, 0 = never
export const REG_WRITE_INDEX = 0x28; // RO, frames written since RUN, mod 2^32; slot = index mod FRAMES
export const REG_READ_INDEX = 0x2c; // RW, frames consumed, mod 2^32
export const REG_DROPPED = 0x30; // RO, frames overwritten unread, or not taken because full, mod 2^32
export const REG_FAULTS = 0x34; // RO, refused DMA transactions
export const REG_INDEX_LO = 0x38; // RW, iova of the write-back {u32 WRITE_INDEX, u32 DROPPED}, 8-byte aligned, 0 = none; ignored while running
export const REG_INDEX_HI = 0x3c;
export const REG_BYTES_LO = 0x40; // RO, bytes written
export const REG_BYTES_HI = 0x44;

export const ID_VALUE = 0xca970100;

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
