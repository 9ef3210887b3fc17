/**
 * capture, a frame grabber that fills a ring in guest memory for ever, with nobody above it: the instrument that shows that
 * DMA never stopped. Register map in regs.ts, what it writes in frame.ts.
 */
import type { Halves } from '../../platform/mailbox.ts';
import { type Registers, word, ZERO } from '../kit/bar-access.ts';
import { type Bus, type Device, type DeviceType, NEVER, SLICE_NS } from '../kit/device.ts';
import type { PropertyTable } from '../kit/properties.ts';
import { FrameBuffer } from './frame.ts';
import { FramePacer } from './pacer.ts';
import * as regs from './regs.ts';
import { Ring, type RingProgram } from './ring.ts';

const RW_CTRL = regs.CTRL_RUN | regs.CTRL_STOP_WHEN_FULL | regs.CTRL_IRQ_ENABLE;

/** After a refused DMA the next attempt waits this long: a device that nobody maps for must not flood the fault queue. */
const RETRY_NS = 1e6;

class Capture implements Device {
  readonly bars: Device['bars'];
  readonly #bus: Bus;

  #ctrl = 0;
  #irqStatus = 0;
  /** What is programmed; a running ring keeps what it was started with. */
  #program: RingProgram = { ringLo: 0, ringHi: 0, frames: 0, frameSize: 0, indexLo: 0, indexHi: 0 };
  #irqEvery = 0;
  #fault = false;
  #faults = 0;
  #bytes = 0;

  readonly #pacer = new FramePacer();
  #ring = Ring.NONE;
  #frame = new FrameBuffer(regs.MIN_FRAME_SIZE);
  #running = false;
  #full = false;
  /** Frames attempted since RUN: the next one's number. */
  #sequence = 0;
  #writeIndex = 0;
  #readIndex = 0;
  #dropped = 0;
  /** What the write-back's DROPPED says; −1: nothing yet. */
  #toldDropped = -1;

  constructor(bus: Bus) {
    this.#bus = bus;
    const registers: Registers = {
      read: (offset) => this.#read(offset),
      write: (offset, _size, lo) => this.#write(offset, lo),
    };
    this.bars = { 0: registers };
  }

  #read(offset: number): Halves {
    switch (offset) {
      case regs.REG_ID:
        return word(regs.ID_VALUE);
      case regs.REG_CTRL:
        return word(this.#ctrl);
      case regs.REG_STATUS:
        return word(this.#status());
      case regs.REG_IRQ_STATUS:
        return word(this.#irqStatus);
      case regs.REG_RING_LO:
        return word(this.#program.ringLo);
      case regs.REG_RING_HI:
        return word(this.#program.ringHi);
      case regs.REG_FRAMES:
        return word(this.#program.frames);
      case regs.REG_FRAME_SIZE:
        return word(this.#program.frameSize);
      case regs.REG_RATE:
        return word(this.#pacer.rate);
      case regs.REG_IRQ_EVERY:
        return word(this.#irqEvery);
      case regs.REG_WRITE_INDEX:
        return word(this.#writeIndex);
      case regs.REG_READ_INDEX:
        return word(this.#readIndex);
      case regs.REG_DROPPED:
        return word(this.#dropped);
      case regs.REG_FAULTS:
        return word(this.#faults);
      case regs.REG_INDEX_LO:
        return word(this.#program.indexLo);
      case regs.REG_INDEX_HI:
        return word(this.#program.indexHi);
      case regs.REG_BYTES_LO:
        return word(this.#bytes);
      case regs.REG_BYTES_HI:
        return word(this.#bytes / 2 ** 32);
      default:
        return ZERO;
    }
  }

  #status(): number {
    return (
      (this.#running ? regs.STATUS_RUNNING : 0) |
      (this.#full ? regs.STATUS_FULL : 0) |
      (this.#fault ? regs.STATUS_FAULT : 0)
    );
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case regs.REG_CTRL:
        this.#writeCtrl(value);
        return;
      case regs.REG_IRQ_STATUS:
        this.#irqStatus &= ~value;
        this.#driveLevel();
        return;
      case regs.REG_RING_LO:
        this.#set({ ringLo: value });
        return;
      case regs.REG_RING_HI:
        this.#set({ ringHi: value });
        return;
      case regs.REG_FRAMES:
        this.#set({ frames: value });
        return;
      case regs.REG_FRAME_SIZE:
        this.#set({ frameSize: value });
        return;
      case regs.REG_RATE:
        this.#pacer.setRate(value, this.#bus.clock());
        return;
      case regs.REG_IRQ_EVERY:
        this.#irqEvery = value;
        return;
      case regs.REG_READ_INDEX:
        this.#readIndex = value;
        if (this.#hasRoom()) this.#full = false;
        return;
      case regs.REG_INDEX_LO:
        this.#set({ indexLo: value });
        return;
      case regs.REG_INDEX_HI:
        this.#set({ indexHi: value });
        return;
    }
  }

  #set(change: Partial<RingProgram>): void {
    if (!this.#running) this.#program = { ...this.#program, ...change };
  }

  #writeCtrl(value: number): void {
    if ((value & regs.CTRL_RESET) !== 0) {
      this.#reset();
      return;
    }
    this.#ctrl = value & RW_CTRL;
    const run = (value & regs.CTRL_RUN) !== 0;
    if (run && !this.#running) this.#start();
    if (!run) this.#stop();
    this.#driveLevel();
  }

  #reset(): void {
    this.#stop();
    this.#ctrl = 0;
    this.#irqStatus = 0;
    this.#set({ ringLo: 0, ringHi: 0, frames: 0, frameSize: 0, indexLo: 0, indexHi: 0 });
    this.#irqEvery = 0;
    this.#fault = false;
    this.#faults = 0;
    this.#bytes = 0;
    this.#sequence = 0;
    this.#writeIndex = 0;
    this.#readIndex = 0;
    this.#dropped = 0;
    this.#pacer.setRate(0, 0);
    this.#driveLevel();
  }

  /** RUN 0→1. Bad programming: RUN falls back to 0 and STATUS.fault tells. */
  #start(): void {
    const ring = Ring.program(this.#program);
    if (!ring) {
      this.#ctrl &= ~regs.CTRL_RUN;
      this.#reportFault();
      return;
    }
    this.#ring = ring;
    if (this.#frame.bytes.length !== ring.frameSize) this.#frame = new FrameBuffer(ring.frameSize);
    this.#running = true;
    this.#full = false;
    this.#fault = false;
    this.#sequence = 0;
    this.#writeIndex = 0;
    this.#readIndex = 0;
    this.#dropped = 0;
    this.#toldDropped = -1;
    this.#pacer.start(this.#bus.clock());
  }

  /** The indexes stay readable: a driver drains what was written. */
  #stop(): void {
    this.#running = false;
    this.#full = false;
  }

  #hasRoom(): boolean {
    return (this.#writeIndex - this.#readIndex) >>> 0 < this.#ring.frames;
  }

  run(): number {
    const { clock } = this.#bus;
    const endNs = clock() + SLICE_NS;
    while (this.#running) {
      // As fast as it can, and full: nothing is lost, the next frame is taken when there is room (READ_INDEX).
      if (this.#full && this.#pacer.rate === 0) return NEVER;
      const now = clock();
      const due = this.#pacer.dueNs(now);
      if (due > now || now >= endNs) return due;
      this.#pacer.advance();
      this.#take(now);
    }
    return NEVER;
  }

  /** One frame, taken or not. HOT. */
  #take(now: number): void {
    const overrun = !this.#hasRoom();
    if (overrun && (this.#ctrl & regs.CTRL_STOP_WHEN_FULL) !== 0) {
      this.#skip();
      return;
    }
    const { dma, control, timeline, clock } = this.#bus;
    const ring = this.#ring;
    const frame = this.#frame;
    frame.fill(this.#sequence++, now);
    if (control.take('corrupt-frame')) frame.corrupt();
    const slot = this.#writeIndex & (ring.frames - 1);
    const written = dma.write(ring.slotVpn(slot), ring.slotOffset(slot), frame.bytes);
    this.#bytes += written;
    if (written < frame.bytes.length) {
      this.#refused(now);
      return;
    }
    this.#writeIndex = (this.#writeIndex + 1) >>> 0;
    if (overrun) this.#dropped = (this.#dropped + 1) >>> 0;
    const stores = this.#writeBack(now);
    timeline.record(clock(), 1 + stores, written);
    if (overrun) this.#eventOnce(regs.IRQ_OVERRUN);
    if (this.#irqEvery !== 0 && this.#writeIndex % this.#irqEvery === 0) this.#event(regs.IRQ_FRAMES);
  }

  /** A frame that finds the ring full. At a fixed rate it is lost and counted; as fast as it can, it just waits. */
  #skip(): void {
    if (!this.#full) {
      this.#full = true;
      this.#eventOnce(regs.IRQ_OVERRUN);
    }
    if (this.#pacer.rate === 0) return;
    this.#sequence++;
    this.#dropped = (this.#dropped + 1) >>> 0;
  }

  /** {WRITE_INDEX, DROPPED}: DROPPED when it changed, then the index, as it publishes the frame. Number of stores. */
  #writeBack(now: number): number {
    const { indexVpn, indexOffset, hasIndex } = this.#ring;
    if (!hasIndex) return 0;
    const { dma } = this.#bus;
    let stores = 0;
    if (this.#toldDropped !== this.#dropped) {
      if (!dma.write32(indexVpn, indexOffset + 4, this.#dropped)) {
        this.#refused(now);
        return stores;
      }
      this.#toldDropped = this.#dropped;
      stores++;
    }
    if (!dma.write32(indexVpn, indexOffset, this.#writeIndex)) {
      this.#refused(now);
      return stores;
    }
    return stores + 1;
  }

  /** The bus refused a transaction. */
  #refused(now: number): void {
    this.#faults = (this.#faults + 1) >>> 0;
    this.#pacer.holdUntil(now + RETRY_NS);
    this.#reportFault();
  }

  #reportFault(): void {
    this.#fault = true;
    this.#eventOnce(regs.IRQ_FAULT);
  }

  /** Tells of a condition that lasts: once until software has cleared the bit. */
  #eventOnce(bit: number): void {
    if ((this.#irqStatus & bit) === 0) this.#event(bit);
  }

  /** An MSI for every event, or the level. */
  #event(bit: number): void {
    this.#irqStatus |= bit;
    if ((this.#ctrl & regs.CTRL_IRQ_ENABLE) === 0) return;
    if (!this.#bus.interrupts.msiEnabled()) {
      this.#driveLevel();
    } else if (!this.#bus.interrupts.message()) {
      this.#faults = (this.#faults + 1) >>> 0; // and no event of its own: it could not be told either
      this.#fault = true;
      this.#irqStatus |= regs.IRQ_FAULT;
    }
  }

  #driveLevel(): void {
    const enabled = (this.#ctrl & regs.CTRL_IRQ_ENABLE) !== 0;
    this.#bus.interrupts.setLevel(enabled && this.#irqStatus !== 0);
  }

  configChanged(): void {
    this.#driveLevel();
  }
}

const PROPERTIES = {} as const satisfies PropertyTable;

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'capture',
  identity: {
    vendor: 0x1234,
    device: 0xca97,
    classCode: 0x048000,
    revision: 1,
    subsystemVendor: 0x1234,
    subsystem: 0xca97,
    interruptPin: 1,
  },
  bars: () => [
    {
      kind: 'registers',
      index: 0,
      space: 'memory',
      size: 4096,
      width: 32,
      prefetchable: false,
      access: { min: 4, max: 4, odd: 'refuse', small: 'refuse' },
    },
  ],
  msi: true,
  properties: PROPERTIES,
  defects: ['corrupt-frame', 'drop-interrupt'],
  create: (bus) => new Capture(bus),
};
