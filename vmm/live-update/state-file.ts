/**
 * What a VMM hands to the image that replaces it: sections in a memfd.
 *
 *   0   "LIVEVMM\0"   8  u32 format (1)   12 u32 sections
 *   16  f64 CLOCK_MONOTONIC ns when the state was complete
 *   24  the sections (platform/packed-sections.ts)
 */
import { monotonicNs } from '../../platform/clock.ts';
import { einval, SysError } from '../../platform/errno.ts';
import { newSealable } from '../../platform/libc/memfd.ts';
import {
  endOf,
  type PackedSections,
  packBodies,
  packSections,
  type ScannedSection,
  scanSection,
} from '../../platform/packed-sections.ts';
import type { Versioned } from '../../platform/section.ts';

/** What a state begins with; a build reads only states that begin like its own. */
export const STATE_FORM = { magic: 'LIVEVMM\0', format: 1 };

const MAGIC = Buffer.from(STATE_FORM.magic);
const FORMAT = STATE_FORM.format;
const HEADER = 24;
const COMPLETE_NS_OFFSET = 16;

/** A memfd for a state, close-on-exec. */
export const newStateFile = (): number => newSealable('livevmm-state');

export const encodeState = (sections: Readonly<Record<string, Versioned>>): Uint8Array =>
  encodePacked([packSections(packBodies(sections))]);

/** A state of sections that are packed already. */
export function encodePacked(parts: readonly PackedSections[]): Uint8Array {
  const file = Buffer.alloc(parts.reduce((sum, { bytes }) => sum + bytes.length, HEADER));
  MAGIC.copy(file);
  file.writeUInt32LE(FORMAT, 8);
  file.writeUInt32LE(
    parts.reduce((sum, { count }) => sum + count, 0),
    12,
  );
  let at = HEADER;
  for (const { bytes } of parts) {
    file.set(bytes, at);
    at += bytes.length;
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
      at = endOf(section, at);
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return { ...head, sections, damage: error.message };
  }
  return { ...head, sections, damage: undefined };
}
