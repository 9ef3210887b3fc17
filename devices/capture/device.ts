/**
 * capture, a frame grabber that fills a ring in guest memory for ever, with nobody above it: the instrument that shows that
 * DMA never stopped. Register map in regs.ts, what it writes in frame.ts.
 */
import { type Bus, type Device, type DeviceType, NEVER, SLICE_NS } from '../kit/device.ts';
import type { PropertyTable } from '../kit/properties.ts';
import { RegisterFile, type RegisterValues } from '../kit/register-file.ts';
import { FrameBuffer } from './frame.ts';
import { FramePacer } from './pacer.ts';
import {
  CTRL_IRQ_ENABLE,
  CTRL_RESET,
  CTRL_RUN,
  CTRL_STOP_WHEN_FULL,
  IRQ_FAULT,
  IRQ_FRAMES,
  IRQ_OVERRUN,
  MIN_FRAME_SIZE,
  REGISTERS,
  STATUS_FAULT,
  STATUS_FULL,
  STATUS_RUNNING,
} from './regs.ts';
import { Ring } from './ring.ts';

const RW_CTRL = CTRL_RUN | CTRL_STOP_WHEN_FULL | CTRL_IRQ_ENABLE;

/** After a refused DMA the next attempt waits this long: a device that nobody maps for must not flood the fault queue. */
const RETRY_NS = 1e6;

class Capture implements Device {
  readonly bars: Device['bars'];
  readonly #bus: Bus;
  readonly #registers: RegisterFile<typeof REGISTERS.registers>;
  readonly #reg: RegisterValues<typeof REGISTERS.registers>;

  readonly #pacer = new FramePacer();
  /** As programmed when RUN was set. */
  #ring = Ring.NONE;
  #frame = new FrameBuffer(MIN_FRAME_SIZE);
  #running = false;
  #full = false;
  #fault = false;
  #bytes = 0;
  /** Frames attempted since RUN: the next one's number. */
  #sequence = 0;
  /** What the write-back's DROPPED says; −1: nothing yet. */
  #toldDropped = -1;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#registers = new RegisterFile(REGISTERS, {
      locked: () => this.#running,
      read: {
        STATUS: () => this.#status(),
        BYTES_LO: () => this.#bytes,
        BYTES_HI: () => this.#bytes / 2 ** 32,
      },
      write: {
        CTRL: (value) => this.#control(value),
        IRQ_STATUS: (ones) => this.#acknowledge(ones),
        RATE: (rate) => this.#setRate(rate),
        READ_INDEX: (index) => this.#consume(index),
      },
    });
    this.#reg = this.#registers.values;
    this.bars = { 0: this.#registers };
  }

  #status(): number {
    return (this.#running ? STATUS_RUNNING : 0) | (this.#full ? STATUS_FULL : 0) | (this.#fault ? STATUS_FAULT : 0);
  }

  #acknowledge(ones: number): void {
    this.#reg.IRQ_STATUS &= ~ones;
    this.#driveLevel();
  }

  #setRate(rate: number): void {
    this.#reg.RATE = rate;
    this.#pacer.setRate(rate, this.#bus.clock());
  }

  #consume(readIndex: number): void {
    this.#reg.READ_INDEX = readIndex;
    if (this.#hasRoom()) this.#full = false;
  }

  #control(value: number): void {
    if ((value & CTRL_RESET) !== 0) {
      this.#reset();
      return;
    }
    this.#reg.CTRL = value & RW_CTRL;
    const run = (value & CTRL_RUN) !== 0;
    if (run && !this.#running) this.#start();
    if (!run) this.#stop();
    this.#driveLevel();
  }

  #reset(): void {
    this.#stop();
    this.#registers.reset();
    this.#fault = false;
    this.#bytes = 0;
    this.#sequence = 0;
    this.#pacer.setRate(0, 0);
    this.#driveLevel();
  }

  /** RUN 0→1. Bad programming: RUN falls back to 0 and STATUS.fault tells. */
  #start(): void {
    const ring = Ring.program(this.#reg);
    if (!ring) {
      this.#reg.CTRL &= ~CTRL_RUN;
      this.#reportFault();
      return;
    }
    this.#ring = ring;
    if (this.#frame.bytes.length !== ring.frameSize) this.#frame = new FrameBuffer(ring.frameSize);
    this.#running = true;
    this.#full = false;
    this.#fault = false;
    this.#sequence = 0;
    this.#reg.WRITE_INDEX = 0;
    this.#reg.READ_INDEX = 0;
    this.#reg.DROPPED = 0;
    this.#toldDropped = -1;
    this.#pacer.start(this.#bus.clock());
  }

  /** The indexes stay readable: a driver drains what was written. */
  #stop(): void {
    this.#running = false;
    this.#full = false;
  }

  #hasRoom(): boolean {
    return (this.#reg.WRITE_INDEX - this.#reg.READ_INDEX) >>> 0 < this.#ring.frames;
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
    const reg = this.#reg;
    const overrun = !this.#hasRoom();
    if (overrun && (reg.CTRL & CTRL_STOP_WHEN_FULL) !== 0) {
      this.#skip();
      return;
    }
    const { dma, control, timeline, clock } = this.#bus;
    const ring = this.#ring;
    const frame = this.#frame;
    frame.fill(this.#sequence++, now);
    if (control.take('corrupt-frame')) frame.corrupt();
    const slot = reg.WRITE_INDEX & (ring.frames - 1);
    const written = dma.write(ring.slotVpn(slot), ring.slotOffset(slot), frame.bytes);
    this.#bytes += written;
    if (written < frame.bytes.length) {
      this.#refused(now);
      return;
    }
    reg.WRITE_INDEX++;
    if (overrun) reg.DROPPED++;
    const stores = this.#writeBack(now);
    timeline.record(clock(), 1 + stores, written);
    if (overrun) this.#eventOnce(IRQ_OVERRUN);
    const every = reg.IRQ_EVERY;
    if (every !== 0 && reg.WRITE_INDEX % every === 0) this.#event(IRQ_FRAMES);
  }

  /** A frame that finds the ring full. At a fixed rate it is lost and counted; as fast as it can, it just waits. */
  #skip(): void {
    if (!this.#full) {
      this.#full = true;
      this.#eventOnce(IRQ_OVERRUN);
    }
    if (this.#pacer.rate === 0) return;
    this.#sequence++;
    this.#reg.DROPPED++;
  }

  /** {WRITE_INDEX, DROPPED}: DROPPED when it changed, then the index, as it publishes the frame. Number of stores. */
  #writeBack(now: number): number {
    const { indexVpn, indexOffset, hasIndex } = this.#ring;
    if (!hasIndex) return 0;
    const { dma } = this.#bus;
    const { WRITE_INDEX: index, DROPPED: dropped } = this.#reg;
    let stores = 0;
    if (this.#toldDropped !== dropped) {
      if (!dma.write32(indexVpn, indexOffset + 4, dropped)) {
        this.#refused(now);
        return stores;
      }
      this.#toldDropped = dropped;
      stores++;
    }
    if (!dma.write32(indexVpn, indexOffset, index)) {
      this.#refused(now);
      return stores;
    }
    return stores + 1;
  }

  /** The bus refused a transaction. */
  #refused(now: number): void {
    this.#reg.FAULTS++;
    this.#pacer.holdUntil(now + RETRY_NS);
    this.#reportFault();
  }

  #reportFault(): void {
    this.#fault = true;
    this.#eventOnce(IRQ_FAULT);
  }

  /** Tells of a condition that lasts: once until software has cleared the bit. */
  #eventOnce(bit: number): void {
    if ((this.#reg.IRQ_STATUS & bit) === 0) this.#event(bit);
  }

  /** An MSI for every event, or the level. */
  #event(bit: number): void {
    const { interrupts } = this.#bus;
    this.#reg.IRQ_STATUS |= bit;
    if ((this.#reg.CTRL & CTRL_IRQ_ENABLE) === 0) return;
    if (!interrupts.msiEnabled()) {
      this.#driveLevel();
    } else if (!interrupts.message()) {
      this.#reg.FAULTS++; // and no event of its own: it could not be told either
      this.#reg.IRQ_STATUS |= IRQ_FAULT;
      this.#fault = true;
    }
  }

  #driveLevel(): void {
    const enabled = (this.#reg.CTRL & CTRL_IRQ_ENABLE) !== 0;
    this.#bus.interrupts.setLevel(enabled && this.#reg.IRQ_STATUS !== 0);
  }

  configChanged(): void {
    this.#driveLevel();
  }
}

const PROPERTIES = {} as const satisfies PropertyTable;

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'capture',
  summary: 'a frame grabber: writes checksummed frames to a ring in memory, for ever',
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
      registers: REGISTERS,
    },
  ],
  msi: true,
  properties: PROPERTIES,
  defects: ['corrupt-frame', 'drop-interrupt'],
  create: (bus) => new Capture(bus),
};
