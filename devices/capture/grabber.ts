/** Takes frames when the pacer says so, and puts them into the ring in guest memory. */
import { type Bus, NEVER, SLICE_NS } from '../kit/device.ts';
import type { Events } from './events.ts';
import { FrameBuffer } from './frame.ts';
import { FramePacer } from './pacer.ts';
import { CTRL_STOP_WHEN_FULL, IRQ_FRAMES, IRQ_OVERRUN, MIN_FRAME_SIZE, type Values } from './regs.ts';
import { Ring } from './ring.ts';

/**
 * The wait after a refused DMA before the next attempt. A device without mappings must not flood
 * the fault queue.
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
  /** The ring as it was programmed when RUN was set. */
  #ring = Ring.NONE;
  #frame = new FrameBuffer(MIN_FRAME_SIZE);
  /** Frames attempted since RUN; this is the number of the next frame. */
  #sequence = 0;
  /** The last DROPPED that was written back; −1: none yet. */
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

  /**
   * Stops taking frames. The indexes stay readable, and a driver drains the frames that were
   * written.
   */
  stop(): void {
    this.running = false;
    this.full = false;
  }

  /** Called when READ_INDEX was written. */
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
      // A full ring without a fixed rate: nothing is lost, and the next frame is taken when there
      // is room (READ_INDEX).
      if (this.full && this.pacer.rate === 0) return NEVER;
      const now = clock();
      const due = this.pacer.dueNs(now);
      if (due > now || now >= endNs) return due;
      this.pacer.advance();
      this.#take(now);
    }
    return NEVER;
  }

  /** Handles one frame, which may be taken or skipped. HOT. */
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
   * Handles a frame that finds the ring full. At a fixed rate the frame is lost and counted. At
   * full speed the device just waits.
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
   * Writes {WRITE_INDEX, DROPPED} back: first DROPPED if it changed, then the index, as the index
   * publishes the frame. Returns the number of stores.
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

  /** Called when the bus refused a transaction. */
  #refused(now: number): void {
    this.#reg.FAULTS++;
    this.pacer.holdUntil(now + RETRY_NS);
    this.#events.tellFault();
  }
}
