/**
 * What a VMM hands to the image that replaces it: named, versioned, checksummed sections in a
 * memfd.
 *
 *   0   "LIVEVMM\0"   8  u32 format (1)   12 u32 sections
 *   16  f64 CLOCK_MONOTONIC ns when the state was complete
 *   24  per section: 32 bytes name, NUL padded · u32 version · u32 length
 *                    u32 CRC-32 of name, version and body · u32 0
 *       then the body (msgpack), padded to 8 bytes
 */
import { crc32 } from 'node:zlib';

import { monotonicNs } from '../../platform/clock.ts';
import { einval, SysError } from '../../platform/errno.ts';
import { newSealable } from '../../platform/libc/memfd.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Versioned } from '../../platform/section.ts';

/** What a state begins with; a build reads only states that begin like its own. */
export const STATE_FORM = { magic: 'LIVEVMM\0', format: 1 };

const MAGIC = Buffer.from(STATE_FORM.magic);
const FORMAT = STATE_FORM.format;
const HEADER = 24;
const COMPLETE_NS_OFFSET = 16;
const SECTION_HEADER = 48;
const NAME_BYTES = 32;

/** A state that cannot be loaded; the message names the section and the reason. */
const refuse = (section: string, reason: string): Error => einval(`section ${section}: ${reason}`);

const padded = (length: number): number => Math.ceil(length / 8) * 8;

/** A memfd for a state, close-on-exec. */
export const newStateFile = (): number => newSealable('livevmm-state');

export function encodeState(sections: Readonly<Record<string, Versioned>>): Uint8Array {
  const bodies = Object.entries(sections).map(([name, state]) => ({ name, state, body: pack(state) }));
  const size = bodies.reduce((sum, { body }) => sum + SECTION_HEADER + padded(body.length), HEADER);
  const file = Buffer.alloc(size);
  MAGIC.copy(file);
  file.writeUInt32LE(FORMAT, 8);
  file.writeUInt32LE(bodies.length, 12);
  let at = HEADER;
  for (const { name, state, body } of bodies) {
    if (Buffer.byteLength(name) >= NAME_BYTES) throw einval(`section name ${name} is too long`);
    file.write(name, at);
    file.writeUInt32LE(state.version, at + 32);
    file.writeUInt32LE(body.length, at + 36);
    file.set(body, at + SECTION_HEADER);
    file.writeUInt32LE(checksum(file, at, body.length), at + 40);
    at += SECTION_HEADER + padded(body.length);
  }
  file.writeDoubleLE(monotonicNs(), COMPLETE_NS_OFFSET);
  return file;
}

export interface StateFile {
  /** When the state was complete. */
  readonly completeNs: number;
  readonly sections: ReadonlyMap<string, Versioned>;
}

/** Reads a state. EINVAL names the section and what is wrong with it. */
export function decodeState(bytes: Uint8Array): StateFile {
  const { completeNs, sections, damage } = scanState(bytes);
  if (damage !== undefined) throw einval(damage);
  return { completeNs, sections: new Map(sections.map(({ name, body }) => [name, body])) };
}

/** A section whose checksum was right. */
export interface ScannedSection {
  readonly name: string;
  readonly version: number;
  /** Bytes of the packed body. */
  readonly size: number;
  readonly body: Versioned;
}

export interface Scan {
  readonly format: number;
  readonly completeNs: number;
  /** How many sections the file says that it has. */
  readonly count: number;
  /** Those before the first damage, in the order of the file. */
  readonly sections: readonly ScannedSection[];
  /** The first thing that is wrong, if anything is; nothing behind it can be trusted. */
  readonly damage: string | undefined;
}

/** Reads a state as far as it is sound. EINVAL: not the state of a livevmm, or another format. */
export function scanState(bytes: Uint8Array): Scan {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < HEADER || !file.subarray(0, 8).equals(MAGIC)) throw einval('not the state of a livevmm');
  const format = file.readUInt32LE(8);
  if (format !== FORMAT) throw einval(`state of format ${format}, this build knows ${FORMAT}`);
  const count = file.readUInt32LE(12);
  const head = { format, completeNs: file.readDoubleLE(COMPLETE_NS_OFFSET), count };
  const sections: ScannedSection[] = [];
  let at = HEADER;
  try {
    while (sections.length < count) {
      const section = scanSection(file, at);
      sections.push(section);
      at += SECTION_HEADER + padded(section.size);
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return { ...head, sections, damage: error.message };
  }
  return { ...head, sections, damage: undefined };
}

/** The section at this place of the file. EINVAL: it is damaged. */
function scanSection(file: Buffer, at: number): ScannedSection {
  if (at + SECTION_HEADER > file.length) throw einval('state is cut short');
  const name = file.toString('latin1', at, at + NAME_BYTES).replace(/\0.*$/s, '');
  const version = file.readUInt32LE(at + 32);
  const size = file.readUInt32LE(at + 36);
  const body = file.subarray(at + SECTION_HEADER, at + SECTION_HEADER + size);
  if (body.length < size) throw refuse(name, 'is cut short');
  if (checksum(file, at, size) !== file.readUInt32LE(at + 40)) throw refuse(name, 'checksum does not match');
  return { name, version, size, body: unpackBody(name, version, body) };
}

function unpackBody(name: string, version: number, body: Buffer): Versioned {
  let state: unknown;
  try {
    state = unpack(body);
  } catch (error) {
    throw refuse(name, `is not msgpack (${(error as Error).message})`);
  }
  if (typeof state !== 'object' || state === null || !('version' in state) || state.version !== version) {
    throw refuse(name, 'has no version, or two');
  }
  return state as Versioned;
}

/** Over a section's name, version and length, then its body. */
const checksum = (file: Buffer, at: number, length: number): number =>
  crc32(file.subarray(at + SECTION_HEADER, at + SECTION_HEADER + length), crc32(file.subarray(at, at + 40)));
