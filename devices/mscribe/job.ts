/**
 * One job of mscribe: decodes its descriptor, and carries it out part by part (regs.ts has the
 * layout).
 */
import { type Dma, splitIova } from '../kit/dma.ts';
import {
  DESCRIPTOR_BYTES,
  JOB_IRQ,
  MAX_LENGTH,
  OP_COPY,
  OP_FILL,
  OP_MASK,
  STATUS_BAD_LENGTH,
  STATUS_BAD_OPERATION,
  STATUS_DESTINATION_REFUSED,
  STATUS_DONE,
  STATUS_SOURCE_REFUSED,
} from './regs.ts';

/** Bytes moved at a time. */
export const PART_BYTES = 65536;

const COMMAND = 0x00;
const LENGTH = 0x04;
const SOURCE = 0x08;
const DESTINATION = 0x10;
/** Offset of the result that the device writes back, and its size. */
export const RESULT = 0x18;
const RESULT_BYTES = DESCRIPTOR_BYTES - RESULT;

export interface Job {
  readonly operation: number;
  readonly wantsInterrupt: boolean;
  readonly length: number;
  /** iova, or 8 bytes to repeat. */
  readonly source: bigint;
  readonly destination: bigint;
}

export function decodeJob(descriptor: Uint8Array): Job {
  const view = new DataView(descriptor.buffer, descriptor.byteOffset, DESCRIPTOR_BYTES);
  const command = view.getUint32(COMMAND, true);
  return {
    operation: command & OP_MASK,
    wantsInterrupt: (command & JOB_IRQ) !== 0,
    length: view.getUint32(LENGTH, true),
    source: view.getBigUint64(SOURCE, true),
    destination: view.getBigUint64(DESTINATION, true),
  };
}

export interface JobResult {
  readonly status: number;
  /** Bytes that are in the destination. */
  readonly written: number;
  /** DMA transactions and bytes, both ways. */
  readonly transactions: number;
  readonly bytes: number;
}

export function encodeResult({ status, written }: JobResult): Uint8Array {
  const bytes = new Uint8Array(RESULT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, written, true);
  view.setUint32(4, status, true);
  return bytes;
}

const refused = (status: number): JobResult => ({ status, written: 0, transactions: 0, bytes: 0 });

/**
 * Carries a job out. Undefined if `dropped()` says after an access that the device was reset
 * meanwhile.
 */
export function carryOut(job: Job, dma: Dma, dropped: () => boolean): JobResult | undefined {
  if (job.operation !== OP_COPY && job.operation !== OP_FILL) return refused(STATUS_BAD_OPERATION);
  if (job.length === 0 || job.length > MAX_LENGTH) return refused(STATUS_BAD_LENGTH);
  const buffer = new Uint8Array(Math.min(job.length, PART_BYTES));
  if (job.operation === OP_FILL) repeat(job.source, buffer);
  let transactions = 0;
  let bytes = 0;
  for (let written = 0; written < job.length; ) {
    const part = buffer.subarray(0, Math.min(PART_BYTES, job.length - written));
    if (job.operation === OP_COPY) {
      const { vpn, offset } = splitIova(job.source + BigInt(written));
      const moved = dma.read(vpn, offset, part);
      if (dropped()) return undefined;
      transactions++;
      bytes += moved;
      if (moved < part.length) return { status: STATUS_SOURCE_REFUSED, written, transactions, bytes };
    }
    const { vpn, offset } = splitIova(job.destination + BigInt(written));
    const moved = dma.write(vpn, offset, part);
    if (dropped()) return undefined;
    transactions++;
    bytes += moved;
    written += moved;
    if (moved < part.length) return { status: STATUS_DESTINATION_REFUSED, written, transactions, bytes };
  }
  return { status: STATUS_DONE, written: job.length, transactions, bytes };
}

function repeat(pattern: bigint, buffer: Uint8Array): void {
  const eight = new Uint8Array(new BigUint64Array([pattern]).buffer);
  for (let at = 0; at < buffer.length; at++) buffer[at] = eight[at % 8]!;
}
