/** mscribe: a copy engine without IOMMU, driven by a ring of descriptors (regs.ts). It may sleep in the middle of any access, for as long as a VMM takes to be replaced. */
import type { Halves } from '../../platform/mailbox.ts';
import { ONES, type Registers, word } from '../kit/bar-access.ts';
import { type Bus, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { splitIova } from '../kit/dma.ts';
import { milliseconds, type PropertyValues } from '../kit/properties.ts';
import { carryOut, decodeJob, encodeResult, type JobResult, RESULT } from './job.ts';
import {
  BAR_BYTES,
  CAUSE_ERROR,
  CAUSE_JOB,
  CONTROL_ENABLE,
  CONTROL_RESET,
  DESCRIPTOR_BYTES,
  ID_VALUE,
  REG_CAUSE,
  REG_CONTROL,
  REG_FAILED,
  REG_HEAD,
  REG_ID,
  REG_JOBS,
  REG_RING_HI,
  REG_RING_LO,
  REG_RING_SIZE,
  REG_STATUS,
  REG_TAIL,
  STATE_BUSY,
  STATE_ERROR,
  STATUS_DONE,
} from './regs.ts';

const PROPERTIES = {
  /** The least time from the start of a job to the start of the next one. */
  'job-ms': milliseconds(0),
};

const MIN_RING = 2;
const MAX_RING = 4096;

class Mscribe implements Device {
  readonly bars: Device['bars'];
  readonly #bus: Bus;
  readonly #jobNs: number;

  #enabled = false;
  #error = false;
  #cause = 0;
  #ringLo = 0;
  #ringHi = 0;
  #ringSize = 0;
  #head = 0;
  #tail = 0;
  #jobs = 0;
  #failed = 0;
  /** Counts resets and enables: a job that began in another era is dropped. Registers are written while a job sleeps. */
  #era = 0;
  #nextJobNs = 0;
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);

  constructor(bus: Bus, properties: PropertyValues<typeof PROPERTIES>) {
    this.#bus = bus;
    this.#jobNs = properties['job-ms'] * 1e6;
    const registers: Registers = {
      read: (offset) => this.#read(offset),
      write: (offset, _size, lo) => this.#write(offset, lo),
    };
    this.bars = { 0: registers };
  }

  #read(offset: number): Halves {
    switch (offset) {
      case REG_ID:
        return word(ID_VALUE);
      case REG_CONTROL:
        return word(this.#enabled ? CONTROL_ENABLE : 0);
      case REG_STATUS:
        return word((this.#head === this.#tail ? 0 : STATE_BUSY) | (this.#error ? STATE_ERROR : 0));
      case REG_CAUSE:
        return word(this.#cause);
      case REG_RING_LO:
        return word(this.#ringLo);
      case REG_RING_HI:
        return word(this.#ringHi);
      case REG_RING_SIZE:
        return word(this.#ringSize);
      case REG_HEAD:
        return word(this.#head);
      case REG_TAIL:
        return word(this.#tail);
      case REG_JOBS:
        return word(this.#jobs);
      case REG_FAILED:
        return word(this.#failed);
      default:
        return ONES;
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case REG_CONTROL:
        this.#control(value);
        return;
      case REG_CAUSE:
        this.#cause &= ~value;
        if (this.#cause === 0) this.#bus.interrupts.setLevel(false);
        return;
      case REG_RING_LO:
        if (!this.#enabled) this.#ringLo = value;
        return;
      case REG_RING_HI:
        if (!this.#enabled) this.#ringHi = value;
        return;
      case REG_RING_SIZE:
        if (!this.#enabled) this.#ringSize = value;
        return;
      case REG_TAIL:
        this.#tail = value;
        return;
    }
  }

  #control(value: number): void {
    if ((value & CONTROL_RESET) !== 0) {
      this.#reset();
      return;
    }
    const enable = (value & CONTROL_ENABLE) !== 0;
    if (enable && !this.#enabled) {
      this.#era++;
      this.#head = 0;
      this.#tail = 0;
    }
    this.#enabled = enable;
  }

  #reset(): void {
    this.#era++;
    this.#enabled = false;
    this.#error = false;
    this.#cause = 0;
    this.#ringLo = 0;
    this.#ringHi = 0;
    this.#ringSize = 0;
    this.#head = 0;
    this.#tail = 0;
    this.#jobs = 0;
    this.#failed = 0;
    this.#nextJobNs = 0;
    this.#bus.interrupts.setLevel(false);
  }

  run(): number {
    if (!this.#enabled || this.#error) return NEVER;
    if (!this.#isValid()) {
      this.#fail();
      return NEVER;
    }
    if (this.#head === this.#tail) return NEVER;
    const now = this.#bus.clock();
    if (now < this.#nextJobNs) return this.#nextJobNs;
    this.#nextJobNs = now + this.#jobNs;
    this.#runJob();
    return this.#nextJobNs; // at or before now when another may begin
  }

  /** Ring and size are good, and TAIL is at most one ring ahead. */
  #isValid(): boolean {
    const size = this.#ringSize;
    const isPowerOfTwo = size >= MIN_RING && size <= MAX_RING && (size & (size - 1)) === 0;
    return isPowerOfTwo && this.#ringLo % DESCRIPTOR_BYTES === 0 && (this.#tail - this.#head) >>> 0 <= size;
  }

  /** Everything after an access may find the device in another era: then nothing of the job counts. */
  #runJob(): void {
    const era = this.#era;
    const dropped = (): boolean => this.#era !== era;
    const { dma, clock, timeline } = this.#bus;
    const { vpn, offset } = splitIova(this.#slot());
    const fetched = dma.read(vpn, offset, this.#descriptor);
    if (dropped()) return;
    if (fetched < DESCRIPTOR_BYTES) {
      this.#fail();
      return;
    }
    const job = decodeJob(this.#descriptor);
    const result = carryOut(job, dma, dropped);
    if (!result) return;
    if (!this.#writeBack(result)) {
      if (!dropped()) this.#fail();
      return;
    }
    timeline.record(clock(), result.transactions + 2, result.bytes + DESCRIPTOR_BYTES + (DESCRIPTOR_BYTES - RESULT));
    if (dropped()) return;
    this.#head = (this.#head + 1) >>> 0;
    this.#jobs = (this.#jobs + 1) >>> 0;
    if (result.status !== STATUS_DONE) this.#failed = (this.#failed + 1) >>> 0;
    if (job.wantsInterrupt) this.#raise(CAUSE_JOB);
  }

  /** iova of the descriptor at HEAD. */
  #slot(): bigint {
    const ring = (BigInt(this.#ringHi) << 32n) | BigInt(this.#ringLo);
    return ring + BigInt((this.#head & (this.#ringSize - 1)) * DESCRIPTOR_BYTES);
  }

  #writeBack(result: JobResult): boolean {
    const bytes = encodeResult(result);
    const { vpn, offset } = splitIova(this.#slot() + BigInt(RESULT));
    return this.#bus.dma.write(vpn, offset, bytes) === bytes.length;
  }

  #fail(): void {
    this.#error = true;
    this.#raise(CAUSE_ERROR);
  }

  #raise(cause: number): void {
    this.#cause |= cause;
    if (this.#bus.interrupts.msiEnabled()) this.#bus.interrupts.message();
    else this.#bus.interrupts.setLevel(true);
  }
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'mscribe',
  identity: {
    vendor: 0x1234,
    device: 0x5c1b,
    classCode: 0x088000, // base system peripheral, other
    revision: 1,
    subsystemVendor: 0x1af4, // as QEMU's devices without one of their own
    subsystem: 0x1100,
    interruptPin: 1,
  },
  bars: () => [
    {
      kind: 'registers',
      index: 0,
      space: 'memory',
      size: BAR_BYTES,
      width: 32,
      prefetchable: false,
      access: { min: 4, max: 4, odd: 'split', small: 'refuse' },
    },
  ],
  msi: true,
  mediated: true,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  create: (bus, properties) => new Mscribe(bus, properties),
};
