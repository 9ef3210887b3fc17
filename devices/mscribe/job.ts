/**
 * One job of mscribe: decodes its descriptor, and carries it out part by part (regs.ts has the
 * layout).
 */
import { viewOf } from '../../platform/struct.ts';
import { type Dma, splitIova } from '../kit/dma.ts';
import {
  Descriptor,
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

/** Offset of the result that the device writes back: it is the rest of the descriptor. */
export const RESULT = Descriptor.offset.written;

export interface Job {
  readonly operation: number;
  readonly wantsInterrupt: boolean;
  readonly length: number;
  /** iova, or 8 bytes to repeat. */
  readonly source: bigint;
  readonly destination: bigint;
}

export function decodeJob(descriptor: Uint8Array): Job {
  const { command, length, source, destination } = Descriptor.read(viewOf(descriptor));
  return { operation: command & OP_MASK, wantsInterrupt: (command & JOB_IRQ) !== 0, length, source, destination };
}

export interface JobResult {
  readonly status: number;
  /** Bytes that are in the destination. */
  readonly written: number;
  /** DMA transactions and bytes, both ways. */
  readonly transactions: number;
  readonly bytes: number;
}

export const encodeResult = ({ status, written }: JobResult): Uint8Array =>
  Descriptor.bytes({ written, status }).subarray(RESULT);

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
