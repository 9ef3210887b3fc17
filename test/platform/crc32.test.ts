import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, it } from 'vitest';

import { crc32 } from '../../platform/crc32.ts';

it('is the CRC-32 of zlib, in pieces too', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (head, tail) => {
      expect(crc32(tail, crc32(head))).toBe(zlibCrc32(Buffer.concat([head, tail])));
    }),
  );
});
