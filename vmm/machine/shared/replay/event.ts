/**
 * Events of a recording: what comes to a guest from outside, each with the moment at which it does.
 * A file of them begins with a header (vmm/vm/rrfile.ts).
 *
 * An event is a byte for its kind, whose bit 7 says that it is of a look at the outside world; a
 * byte for the port that it came through; instructions and ns since the event before it; the number
 * of its bytes; and those. The three numbers are LEB128.
 */
import { einval } from '../../../../platform/errno.ts';

/** In the order of their numbers, from 1 on. */
const KINDS = [
  /** What the harts' registers are, at the beginning of a round of turns: 4 bytes. */
  'check',
  /** The VM has been ended here. */
  'stop',
  /** The guest has ended its machine: status, registers, RAM. */
  'end',
  /** The machine has been reset from outside. */
  'reset',
  /** All harts waited, and real time passed: ns, LEB128. */
  'pass',
  /** Bytes for the UART. */
  'input',
  /** Bytes, or a frame, for a virtio device. */
  'read',
  /** What a virtio device sends was taken (of a look), or was not (of the guest's own access). */
  'write',
  /** An answer of 9P. */
  'answer',
  /** What was read of a disk: CRC-32, 4 bytes; or nothing: an error. */
  'disk',
  /** A disk could not be written, or not be flushed. */
  'disk-error',
  /** The result of a semihosting call. */
  'call',
] as const;

export type EventKind = (typeof KINDS)[number];

/** How far a guest has come since its first power-on. */
export interface Moment {
  /** Instructions that its harts have begun. */
  readonly instructions: number;
  /** Guest time. */
  readonly ns: bigint;
}

export interface ReplayEvent {
  readonly kind: EventKind;
  /** Counts those of its kind. */
  readonly port: number;
  /** Whether it came when devices looked outside; else the guest's own access asked for it. */
  readonly looking: boolean;
  readonly at: Moment;
  readonly bytes: Uint8Array;
}

export const BEGINNING: Moment = { instructions: 0, ns: 0n };

const LOOKING = 0x80;

/** `before`: the moment of the event before it. */
export function encodeEvent({ kind, port, looking, at, bytes }: ReplayEvent, before: Moment): Uint8Array {
  const head = [
    (KINDS.indexOf(kind) + 1) | (looking ? LOOKING : 0),
    port,
    ...leb128(BigInt(at.instructions - before.instructions)),
    ...leb128(at.ns - before.ns),
    ...leb128(BigInt(bytes.length)),
  ];
  const event = new Uint8Array(head.length + bytes.length);
  event.set(head);
  event.set(bytes, head.length);
  return event;
}

/** undefined: the event is not whole. EINVAL: it is none. */
export function decodeEvent(
  from: Uint8Array,
  before: Moment,
): { readonly event: ReplayEvent; readonly length: number } | undefined {
  if (from.length < 2) return undefined;
  const kind = KINDS[(from[0]! & ~LOOKING) - 1];
  if (kind === undefined) throw einval(`no event is of kind ${from[0]! & ~LOOKING}`);
  const numbers: bigint[] = [];
  let at = 2;
  while (numbers.length < 3) {
    const number = readLeb128(from, at);
    if (!number) return undefined;
    numbers.push(number.value);
    at = number.end;
  }
  const [instructions, ns, length] = numbers as [bigint, bigint, bigint];
  const end = at + Number(length);
  if (end > from.length) return undefined;
  const event: ReplayEvent = {
    kind,
    port: from[1]!,
    looking: (from[0]! & LOOKING) !== 0,
    at: { instructions: before.instructions + Number(instructions), ns: before.ns + ns },
    bytes: from.slice(at, end),
  };
  return { event, length: end };
}

/** An unsigned number, seven bits in each byte, the low ones first. */
export function leb128(value: bigint): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80);
  bytes.push(Number(left));
  return bytes;
}

/** undefined: its end is not there. EINVAL: it has more than 64 bits. */
export function readLeb128(
  from: Uint8Array,
  start: number,
): { readonly value: bigint; readonly end: number } | undefined {
  let value = 0n;
  for (let at = start; at < from.length; at++) {
    if (at - start > 9) throw einval('a number of more than 64 bits');
    value |= BigInt(from[at]! & 0x7f) << BigInt(7 * (at - start));
    if (from[at]! < 0x80) return { value, end: at + 1 };
  }
  return undefined;
}
