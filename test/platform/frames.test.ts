import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodeFrame, FrameReader, MAX_FRAME } from '../../platform/frames.ts';

/** msgpackr renames the one that would change a prototype; no message has it. */
const keys = fc.string().filter((key) => key !== '__proto__');
const values = fc.array(
  fc.oneof(
    fc.record({ op: fc.string(), fd: fc.integer(), arg: fc.uint8Array({ maxLength: 200 }) }),
    fc.record({ ret: fc.integer(), big: fc.bigInt({ min: 2n ** 60n, max: 2n ** 64n - 1n }) }),
    fc.record({ nested: fc.array(fc.dictionary(keys, fc.integer())) }),
  ),
  { minLength: 1, maxLength: 8 },
);

const joined = (frames: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(frames));
/** Typed arrays come back as Buffers. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, v) =>
      typeof v === 'bigint' ? `${v}n` : v instanceof Uint8Array ? [...v] : v?.type === 'Buffer' ? v.data : v,
    ),
  );

describe('FrameReader', () => {
  it('gives the values back however the stream is cut', () => {
    fc.assert(
      fc.property(values, fc.array(fc.nat(), { maxLength: 20 }), (sent, cuts) => {
        const stream = joined(sent.map(encodeFrame));
        const at = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
        const reader = new FrameReader();

        const received = [0, ...at].flatMap((from, i) => reader.push(stream.subarray(from, at[i] ?? stream.length)));

        expect(plain(received)).toEqual(plain(sent));
      }),
    );
  });

  it('gives them back byte by byte', () => {
    const stream = joined([encodeFrame({ a: 1 }), encodeFrame({}), encodeFrame({ b: new Uint8Array(300) })]);
    const reader = new FrameReader();

    const received = [...stream].flatMap((byte) => reader.push(Uint8Array.of(byte)));

    expect(received).toHaveLength(3);
  });

  it('keeps what it has got when the caller reuses its chunk', () => {
    const frame = encodeFrame({ text: 'abcdef' });
    const reader = new FrameReader();
    const chunk = frame.slice(0, 9);
    reader.push(chunk);
    chunk.fill(0);

    expect(reader.push(frame.subarray(9))).toEqual([{ text: 'abcdef' }]);
  });

  it('throws EMSGSIZE for a frame that is too long, before it comes', () => {
    const header = new Uint8Array(4);
    new DataView(header.buffer).setUint32(0, MAX_FRAME + 1, true);

    expect(() => new FrameReader().push(header)).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
  });

  it.each([
    { what: 'nothing', body: [] },
    { what: 'a string that is cut off', body: [0xa5, 0x61] },
    { what: 'a value and a rest', body: [0x01, 0x02] },
  ])('throws EPROTO for a body of $what', ({ body }) => {
    const frame = Uint8Array.of(body.length, 0, 0, 0, ...body);

    expect(() => new FrameReader().push(frame)).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });

  it('throws nothing but EPROTO and EMSGSIZE, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
        try {
          new FrameReader().push(garbage);
        } catch (error) {
          expect(['EPROTO', 'EMSGSIZE']).toContain((error as { code?: string }).code);
        }
      }),
      { numRuns: 500 },
    );
  });
});
