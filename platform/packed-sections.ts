/**
 * Sections as bytes: named, versioned, checksummed. Per section:
 *
 *   0   32 bytes name, NUL padded   32 u32 version   36 u32 length of the body
 *   40  u32 CRC-32 of name, version, length and body   44 u32 0
 *   48  the body (msgpack), padded to 8 bytes
 */
import { crc32 } from 'node:zlib';

import { einval } from './errno.ts';
import { pack, unpack } from './msgpack.ts';
import type { Versioned } from './section.ts';

const HEADER = 48;
const NAME_BYTES = 32;

/** A state that cannot be loaded; the message names the section and the reason. */
const refuse = (section: string, reason: string): Error => einval(`section ${section}: ${reason}`);

const padded = (length: number): number => Math.ceil(length / 8) * 8;

/** Sections one after the other. */
export interface PackedSections {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** A section's body, packed. */
export interface PackedBody {
  readonly name: string;
  readonly version: number;
  readonly body: Uint8Array;
}

export const packBodies = (sections: Readonly<Record<string, Versioned>>): PackedBody[] =>
  Object.entries(sections).map(([name, state]) => ({ name, version: state.version, body: pack(state) }));

export function packSections(bodies: readonly PackedBody[]): PackedSections {
  const bytes = Buffer.alloc(bodies.reduce((sum, { body }) => sum + HEADER + padded(body.length), 0));
  let at = 0;
  for (const { name, version, body } of bodies) {
    if (Buffer.byteLength(name) >= NAME_BYTES) throw einval(`section name ${name} is too long`);
    bytes.write(name, at);
    bytes.writeUInt32LE(version, at + 32);
    bytes.writeUInt32LE(body.length, at + 36);
    bytes.set(body, at + HEADER);
    bytes.writeUInt32LE(checksum(bytes, at, body.length), at + 40);
    at += HEADER + padded(body.length);
  }
  return { count: bodies.length, bytes };
}

/** A section whose checksum was right. */
export interface ScannedSection {
  readonly name: string;
  readonly version: number;
  /** Bytes of the packed body. */
  readonly size: number;
  readonly body: Versioned;
}

/** Where the section ends that begins at `at`, the next one after it. */
export const endOf = ({ size }: ScannedSection, at: number): number => at + HEADER + padded(size);

/** The section at this place. EINVAL: it is damaged. */
export function scanSection(bytes: Buffer, at: number): ScannedSection {
  if (at + HEADER > bytes.length) throw einval('state is cut short');
  const name = bytes.toString('latin1', at, at + NAME_BYTES).replace(/\0.*$/s, '');
  const version = bytes.readUInt32LE(at + 32);
  const size = bytes.readUInt32LE(at + 36);
  const body = bytes.subarray(at + HEADER, at + HEADER + size);
  if (body.length < size) throw refuse(name, 'is cut short');
  if (checksum(bytes, at, size) !== bytes.readUInt32LE(at + 40)) throw refuse(name, 'checksum does not match');
  return { name, version, size, body: unpackBody(name, version, body) };
}

/** The bodies of these sections, by name. EINVAL: one is damaged. */
export function unpackSections({ count, bytes }: PackedSections): Map<string, Versioned> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sections = new Map<string, Versioned>();
  for (let at = 0; sections.size < count; ) {
    const section = scanSection(buffer, at);
    sections.set(section.name, section.body);
    at = endOf(section, at);
  }
  return sections;
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
const checksum = (bytes: Buffer, at: number, length: number): number =>
  crc32(bytes.subarray(at + HEADER, at + HEADER + length), crc32(bytes.subarray(at, at + 40)));
