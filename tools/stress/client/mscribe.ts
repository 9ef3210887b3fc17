/** mscribe as an actor drives it: one job at a time, which sleeps in the kernel while a vaddr that it needs is invalid (5.12). */
import {
  CONTROL_ENABLE,
  CONTROL_RESET,
  DESCRIPTOR_BYTES,
  OP_COPY,
  REG_CONTROL,
  REG_HEAD,
  REG_RING_HI,
  REG_RING_LO,
  REG_RING_SIZE,
  REG_STATUS,
  REG_TAIL,
  STATE_ERROR,
} from '../../../devices/mscribe/regs.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { DeviceFile } from './device-file.ts';

const RING_SIZE = 2;
const LENGTH = 0x04;
const SOURCE = 0x08;
const DESTINATION = 0x10;
const WRITTEN = 0x18;
const STATUS = 0x1c;

export { DESCRIPTOR_BYTES };

export interface CopyJob {
  /** iovas */
  readonly ring: number;
  readonly source: number;
  readonly destination: number;
  readonly length: number;
}

/** What survives an exec of a job that sleeps: bytes of the guarded memory. */
export interface PendingJob {
  readonly ringAt: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly length: number;
}

/** The descriptor of a copy, to be put where the ring is. */
export function encodeDescriptor({ source, destination, length }: CopyJob): Uint8Array {
  const descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  const view = viewOf(descriptor);
  view.setUint32(0, OP_COPY, true);
  view.setUint32(LENGTH, length, true);
  view.setBigUint64(SOURCE, BigInt(source), true);
  view.setBigUint64(DESTINATION, BigInt(destination), true);
  return descriptor;
}

/** What the device wrote into it. */
export function decodeResult(descriptor: Uint8Array): { readonly written: number; readonly status: number } {
  const view = viewOf(descriptor);
  return { written: view.getUint32(WRITTEN, true), status: view.getUint32(STATUS, true) };
}

export class Mscribe {
  readonly file: DeviceFile;

  constructor(file: DeviceFile) {
    this.file = file;
  }

  reset(): void {
    this.file.writeRegister(REG_CONTROL, CONTROL_RESET);
  }

  /** Starts on the job whose descriptor is at iova `ring`. */
  submit(ring: number): void {
    const { file } = this;
    this.reset();
    file.writeRegister(REG_RING_LO, ring % 2 ** 32);
    file.writeRegister(REG_RING_HI, Math.floor(ring / 2 ** 32));
    file.writeRegister(REG_RING_SIZE, RING_SIZE);
    file.writeRegister(REG_CONTROL, CONTROL_ENABLE);
    file.writeRegister(REG_TAIL, 1);
  }

  state(): 'busy' | 'done' | 'error' {
    if ((this.file.readRegister(REG_STATUS) & STATE_ERROR) !== 0) return 'error';
    return this.file.readRegister(REG_HEAD) === 1 ? 'done' : 'busy';
  }
}
