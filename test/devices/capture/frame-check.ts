/**
 * Takes a frame apart as a driver would, from the format's definition and not from the device's
 * code.
 */
import { crc32 } from 'node:zlib';

export interface CheckedFrame {
  readonly magic: number;
  readonly length: number;
  readonly sequence: bigint;
  readonly timestampNs: bigint;
  readonly crcOk: boolean;
  readonly payloadOk: boolean;
}

export function checkFrame(bytes: Uint8Array): CheckedFrame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sequence = view.getBigUint64(0x08, true);
  const checked = Buffer.concat([bytes.subarray(0, 0x18), bytes.subarray(0x20)]);
  let payloadOk = true;
  for (let i = 0; 0x20 + 4 * i < bytes.length; i++) {
    const word = BigInt.asUintN(32, BigInt.asUintN(32, sequence) * 0x9e3779b1n + BigInt(i) * 0x85ebca6bn);
    payloadOk &&= view.getUint32(0x20 + 4 * i, true) === Number(word);
  }
  return {
    magic: view.getUint32(0x00, true),
    length: view.getUint32(0x04, true),
    sequence,
    timestampNs: view.getBigUint64(0x10, true),
    crcOk: view.getUint32(0x18, true) === crc32(checked) && view.getUint32(0x1c, true) === 0,
    payloadOk,
  };
}
