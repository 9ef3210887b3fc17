/** Takes frames, as the pacer says, and puts them into the ring in guest memory. */
import { type Bus, NEVER, SLICE_NS } from '../kit/device.ts';
import type { Events } from './events.ts';
import { FrameBuffer } from './frame.ts';
import { FramePacer } from './pacer.ts';
import { CTRL_STOP_WHEN_FULL, IRQ_FRAMES, IRQ_OVERRUN, MIN_FRAME_SIZE, type Values } from './regs.ts';
import { Ring } from './ring.ts';

/**
 * After a refused DMA the next attempt waits this long: a device that nobody maps for must not
 * flood the fault queue.
 */
const RETRY_NS = 1e6;

export class Grabber {
  running = false;
  /** No frames are taken until there is room. */
  full = false;
  /** Bytes written. */
  bytes = 0;
  readonly pacer = new FramePacer();
  readonly #bus: Bus;
  readonly #reg: Values;
  readonly #events: Events;
  /** As programmed when RUN was set. */
  #ring = Ring.NONE;
  #frame = new FrameBuffer(MIN_FRAME_SIZE);
  /** Frames attempted since RUN: the next one's number. */
  #sequence = 0;
  /** What the write-back's DROPPED says; −1: nothing yet. */
  #toldDropped = -1;

  constructor(bus: Bus, reg: Values, events: Events) {
    this.#bus = bus;
    this.#reg = reg;
    this.#events = events;
  }

  start(ring: Ring): void {
    this.#ring = ring;
    if (this.#frame.bytes.length !== ring.frameSize) this.#frame = new FrameBuffer(ring.frameSize);
    this.running = true;
    this.full = false;
    this.#sequence = 0;
    this.#reg.WRITE_INDEX = 0;
    this.#reg.READ_INDEX = 0;
    this.#reg.DROPPED = 0;
    this.#toldDropped = -1;
    this.pacer.start(this.#bus.clock());
  }

  /** The indexes stay readable: a driver drains what was written. */
  stop(): void {
    this.running = false;
    this.full = false;
  }

  /** READ_INDEX was written. */
  consumed(): void {
    if (this.#hasRoom()) this.full = false;
  }

  #hasRoom(): boolean {
    return (this.#reg.WRITE_INDEX - this.#reg.READ_INDEX) >>> 0 < this.#ring.frames;
  }

  /** As Device.run. */
  run(): number {
    const { clock } = this.#bus;
    const endNs = clock() + SLICE_NS;
    while (this.running) {
      // As fast as it can, and full: nothing is lost, the next frame is taken when there is room
      // (READ_INDEX).
      if (this.full && this.pacer.rate === 0) return NEVER;
      const now = clock();
      const due = this.pacer.dueNs(now);
      if (due > now || now >= endNs) return due;
      this.pacer.advance();
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
    this.bytes += written;
    if (written < frame.bytes.length) {
      this.#refused(now);
      return;
    }
    reg.WRITE_INDEX++;
    if (overrun) reg.DROPPED++;
    const stores = this.#writeBack(now);
    timeline.record(clock(), 1 + stores, written);
    if (overrun) this.#events.tellOnce(IRQ_OVERRUN);
    const every = reg.IRQ_EVERY;
    if (every !== 0 && reg.WRITE_INDEX % every === 0) this.#events.tell(IRQ_FRAMES);
  }

  /**
   * A frame that finds the ring full. At a fixed rate it is lost and counted; as fast as it can, it
   * just waits.
   */
  #skip(): void {
    if (!this.full) {
      this.full = true;
      this.#events.tellOnce(IRQ_OVERRUN);
    }
    if (this.pacer.rate === 0) return;
    this.#sequence++;
    this.#reg.DROPPED++;
  }

  /**
   * {WRITE_INDEX, DROPPED}: DROPPED when it changed, then the index, as it publishes the frame.
   * Number of stores.
   */
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
    this.pacer.holdUntil(now + RETRY_NS);
    this.#events.tellFault();
  }
}
