/**
 * A program with what V8 has compiled of it: without, a third of an update's pause is parsing and compiling in the new image. The
 * old image lets the new one's node prepare it while the guest still runs (prepare.ts), and hands it over in a memfd:
 *
 *   0   "LIVECODE"      8  u32 length of the source   12  u32 length of V8's cached data   16  u32 CRC-32 of both   20  u32 0
 *   24  the source (ASCII), the cached data
 *
 * The source travels with it, so both are of one build whatever happens to the files. V8 believes its cached data, so the old image
 * checks the checksum and seals the file, when there is time; the new image only looks at the header.
 */
import { fstatSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

import { crc32 } from '../../platform/crc32.ts';

const MAGIC = Buffer.from('LIVECODE');
const HEADER = 24;

/** The function that Node makes of a CommonJS file. */
type Wrapper = (exports: object, require: NodeJS.Require, module: object, filename: string, dirname: string) => void;

export interface Code {
  readonly source: string;
  readonly cachedData: Buffer;
}

export function encodeCode({ source, cachedData }: Code): Uint8Array {
  const file = Buffer.concat([Buffer.alloc(HEADER), Buffer.from(source, 'latin1'), cachedData]);
  MAGIC.copy(file);
  file.writeUInt32LE(source.length, 8);
  file.writeUInt32LE(cachedData.length, 12);
  file.writeUInt32LE(crc32(file.subarray(HEADER)), 16);
  return file;
}

/** Whether this is a code file, every byte as it was written. */
export function isIntact(fd: number): boolean {
  const file = readWhole(fd);
  return lengthsFit(file) && crc32(file.subarray(HEADER)) === file.readUInt32LE(16);
}

/** Reads a code file; undefined if it is none. */
export function readCode(fd: number): Code | undefined {
  const file = readWhole(fd);
  if (!lengthsFit(file)) return undefined;
  const end = HEADER + file.readUInt32LE(8);
  return { source: file.toString('latin1', HEADER, end), cachedData: file.subarray(end) };
}

/** What the CommonJS file `path`, whose code this is, exports. Cached data of another V8 is ignored. */
export function runCode({ source, cachedData }: Code, path: string): unknown {
  const wrapper = new Script(source, { filename: path, cachedData }).runInThisContext() as Wrapper;
  const module = { exports: {} };
  wrapper(module.exports, createRequire(path), module, path, dirname(path));
  return module.exports;
}

/** From its beginning, wherever whoever wrote it left the position that all its fds share. */
function readWhole(fd: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(fstatSync(fd).size);
  let done = 0;
  for (let read = -1; read !== 0 && done < bytes.length; done += read) {
    read = readSync(fd, bytes, done, bytes.length - done, done);
  }
  return bytes.subarray(0, done);
}

const lengthsFit = (file: Buffer): boolean =>
  file.length >= HEADER &&
  MAGIC.equals(file.subarray(0, 8)) &&
  file.length === HEADER + file.readUInt32LE(8) + file.readUInt32LE(12);
