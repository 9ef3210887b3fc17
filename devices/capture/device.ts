/**
 * capture is a frame grabber that fills a ring in guest memory for ever, on its own. It is the
 * instrument that shows that DMA never stopped. regs.ts has the register map, grabber.ts takes the
 * frames, frame.ts says what a frame holds.
 */
import type { Bus, Device, DeviceType } from '../kit/device.ts';
import { FUNCTION_PROPERTIES } from '../kit/function-properties.ts';
import { RegisterFile } from '../kit/register-file.ts';
import { Events } from './events.ts';
import { Grabber } from './grabber.ts';
import {
  CTRL_IRQ_ENABLE,
  CTRL_RESET,
  CTRL_RUN,
  CTRL_STOP_WHEN_FULL,
  REGISTERS,
  STATUS_FAULT,
  STATUS_FULL,
  STATUS_RUNNING,
  type Values,
} from './regs.ts';
import { Ring } from './ring.ts';

const RW_CTRL = CTRL_RUN | CTRL_STOP_WHEN_FULL | CTRL_IRQ_ENABLE;

class Capture implements Device {
  readonly #bus: Bus;
  readonly #events: Events;
  readonly #grabber: Grabber;
  readonly #registers = new RegisterFile(REGISTERS, {
    locked: () => this.#grabber.running,
    read: {
      STATUS: () => this.#status(),
      BYTES_LO: () => this.#grabber.bytes,
      BYTES_HI: () => this.#grabber.bytes / 2 ** 32,
    },
    write: {
      CTRL: (value) => this.#control(value),
      IRQ_STATUS: (ones) => this.#events.acknowledge(ones),
      RATE: (rate) => this.#setRate(rate),
      READ_INDEX: (index) => this.#consume(index),
    },
  });
  readonly #reg: Values = this.#registers.values;
  readonly bars = { 0: this.#registers };

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#events = new Events(this.#reg, bus.interrupts);
    this.#grabber = new Grabber(bus, this.#reg, this.#events);
  }

  #status(): number {
    const { running, full } = this.#grabber;
    return (running ? STATUS_RUNNING : 0) | (full ? STATUS_FULL : 0) | (this.#events.fault ? STATUS_FAULT : 0);
  }

  #setRate(rate: number): void {
    this.#reg.RATE = rate;
    this.#grabber.pacer.setRate(rate, this.#bus.clock());
  }

  #consume(readIndex: number): void {
    this.#reg.READ_INDEX = readIndex;
    this.#grabber.consumed();
  }

  #control(value: number): void {
    if ((value & CTRL_RESET) !== 0) {
      this.#reset();
      return;
    }
    this.#reg.CTRL = value & RW_CTRL;
    const run = (value & CTRL_RUN) !== 0;
    if (run && !this.#grabber.running) this.#start();
    if (!run) this.#grabber.stop();
    this.#events.driveLevel();
  }

  /** RUN 0→1. Bad programming: RUN falls back to 0 and STATUS.fault tells. */
  #start(): void {
    const ring = Ring.program(this.#reg);
    if (ring) {
      this.#events.fault = false;
      this.#grabber.start(ring);
    } else {
      this.#reg.CTRL &= ~CTRL_RUN;
      this.#events.tellFault();
    }
  }

  #reset(): void {
    this.#grabber.stop();
    this.#grabber.bytes = 0;
    this.#grabber.pacer.setRate(0, 0);
    this.#registers.reset();
    this.#events.fault = false;
    this.#events.driveLevel();
  }

  run(): number {
    return this.#grabber.run();
  }

  configChanged(): void {
    this.#events.driveLevel();
  }
}

const PROPERTIES = FUNCTION_PROPERTIES;

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
