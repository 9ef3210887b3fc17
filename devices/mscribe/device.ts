/**
 * mscribe is a copy engine without IOMMU, driven by a ring of descriptors (regs.ts). It may sleep
 * in the middle of any access, for as long as the replacement of a VMM takes.
 */
import { type Bus, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { splitIova } from '../kit/dma.ts';
import { FUNCTION_PROPERTIES } from '../kit/function-properties.ts';
import { milliseconds, type PropertyValues } from '../kit/properties.ts';
import { RegisterFile } from '../kit/register-file.ts';
import { carryOut, decodeJob, encodeResult, type JobResult, RESULT } from './job.ts';
import {
  BAR_BYTES,
  CAUSE_ERROR,
  CAUSE_JOB,
  CONTROL_ENABLE,
  CONTROL_RESET,
  DESCRIPTOR_BYTES,
  REGISTERS,
  STATE_BUSY,
  STATE_ERROR,
  STATUS_DONE,
  type Values,
} from './regs.ts';

const PROPERTIES = {
  ...FUNCTION_PROPERTIES,
  'job-ms': milliseconds(0, 'least time from the start of a job to the start of the next one'),
};

const MIN_RING = 2;
const MAX_RING = 4096;

class Mscribe implements Device {
  readonly #bus: Bus;
  readonly #jobNs: number;

  #error = false;
  /**
   * Counts resets and enables. A job that began in another era is dropped: registers may be written
   * while a job sleeps.
   */
  #era = 0;
  #nextJobNs = 0;
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);

  readonly #registers = new RegisterFile(REGISTERS, {
    locked: () => this.#enabled(),
    read: {
      STATUS: () => (this.#reg.HEAD === this.#reg.TAIL ? 0 : STATE_BUSY) | (this.#error ? STATE_ERROR : 0),
    },
    write: {
      CONTROL: (value) => this.#control(value),
      CAUSE: (ones) => this.#acknowledge(ones),
    },
  });
  readonly #reg: Values = this.#registers.values;
  readonly bars = { 0: this.#registers };

  constructor(bus: Bus, properties: PropertyValues<typeof PROPERTIES>) {
    this.#bus = bus;
    this.#jobNs = properties['job-ms'] * 1e6;
  }

  #enabled(): boolean {
    return this.#reg.CONTROL !== 0;
  }

  #acknowledge(ones: number): void {
    this.#reg.CAUSE &= ~ones;
    if (this.#reg.CAUSE === 0) this.#bus.interrupts.setLevel(false);
  }

  #control(value: number): void {
    if ((value & CONTROL_RESET) !== 0) {
      this.#reset();
      return;
    }
    const enable = (value & CONTROL_ENABLE) !== 0;
    if (enable && !this.#enabled()) {
      this.#era++;
      this.#reg.HEAD = 0;
      this.#reg.TAIL = 0;
    }
    this.#reg.CONTROL = enable ? CONTROL_ENABLE : 0;
  }

  #reset(): void {
    this.#era++;
    this.#registers.reset();
    this.#error = false;
    this.#nextJobNs = 0;
    this.#bus.interrupts.setLevel(false);
  }

  run(): number {
    if (!this.#enabled() || this.#error) return NEVER;
    if (!this.#isValid()) {
      this.#fail();
      return NEVER;
    }
    if (this.#reg.HEAD === this.#reg.TAIL) return NEVER;
    const now = this.#bus.clock();
    if (now < this.#nextJobNs) return this.#nextJobNs;
    this.#nextJobNs = now + this.#jobNs;
    this.#runJob();
    return this.#nextJobNs; // at or before now when another may begin
  }

  /** Whether ring and size are good, and TAIL is at most one ring ahead. */
  #isValid(): boolean {
    const size = this.#reg.RING_SIZE;
    const isPowerOfTwo = size >= MIN_RING && size <= MAX_RING && (size & (size - 1)) === 0;
    return (
      isPowerOfTwo && this.#reg.RING_LO % DESCRIPTOR_BYTES === 0 && (this.#reg.TAIL - this.#reg.HEAD) >>> 0 <= size
    );
  }

  /**
   * Runs one job. After each access the device may be in another era; then nothing of the job
   * counts.
   */
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
    this.#reg.HEAD++;
    this.#reg.JOBS++;
    if (result.status !== STATUS_DONE) this.#reg.FAILED++;
    if (job.wantsInterrupt) this.#raise(CAUSE_JOB);
  }

  /** iova of the descriptor at HEAD. */
  #slot(): bigint {
    const ring = (BigInt(this.#reg.RING_HI) << 32n) | BigInt(this.#reg.RING_LO);
    return ring + BigInt((this.#reg.HEAD & (this.#reg.RING_SIZE - 1)) * DESCRIPTOR_BYTES);
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
    this.#reg.CAUSE |= cause;
    if (this.#bus.interrupts.messagesEnabled()) this.#bus.interrupts.message();
    else this.#bus.interrupts.setLevel(true);
  }
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'mscribe',
  summary: 'a copy engine without IOMMU, whose accesses the kernel makes',
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
      registers: REGISTERS,
    },
  ],
  msi: true,
  mediated: true,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  create: (bus, properties) => new Mscribe(bus, properties),
};
