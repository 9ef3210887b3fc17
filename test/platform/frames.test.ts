import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { encodeFrame, FrameReader, MAX_FRAME } from '../../platform/frames.ts';
import { isSmall, pack } from '../../platform/msgpack.ts';

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

  it('is as happy with an empty chunk as with a header of its own', () => {
    const frame = encodeFrame({ a: 1 });
    const reader = new FrameReader();

    const received = [frame.subarray(0, 0), frame.subarray(0, 4), frame.subarray(4, 4), frame.subarray(4)].flatMap(
      (chunk) => reader.push(chunk),
    );

    expect(received).toEqual([{ a: 1 }]);
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

  it('holds nothing between two frames, and never more than the frame that has begun is long', () => {
    const frame = encodeFrame({ data: new Uint8Array(100_000) });
    const reader = new FrameReader();
    const held: number[] = [];

    for (let at = 0; at < frame.length; at += 1000) {
      reader.push(frame.subarray(at, at + 1000));
      held.push(reader.held);
    }

    expect(held[0]).toBeLessThanOrEqual(4096); // what a peer announces is not yet what we allocate
    expect(Math.max(...held)).toBeLessThanOrEqual(frame.length);
    expect(held.at(-1)).toBe(0);
  });

  it('refuses a frame by the limit that it was given', () => {
    const frame = encodeFrame({ data: new Uint8Array(100) });

    expect(() => new FrameReader({ maxFrame: 99 }).push(frame)).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
    expect(new FrameReader({ maxFrame: frame.length - 4 }).push(frame)).toHaveLength(1);
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

describe('a reader that accepts frames of few values', () => {
  const reader = () => new FrameReader({ maxValues: 8 });

  it.each([
    ['a request', { op: 'pwrite', fd: 3, data: new Uint8Array(100_000) }],
    ['as many as it may have', { list: [1, 2, 3, 4, 5] }],
  ])('takes %s', (_, value) => {
    expect(plain(reader().push(encodeFrame(value)))).toEqual([plain(value)]);
  });

  it.each([
    ['one too many', { list: [1, 2, 3, 4, 5, 6] }],
    ['a map of many keys', Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key ${i}`, i]))],
    ['an extension', { date: new Date(0), text: 'longer than eight bytes' }],
  ])('refuses %s', (_, value) => {
    expect(() => reader().push(encodeFrame(value))).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });

  it.each([
    ['a million arrays, each in the last', new Uint8Array(1_000_000).fill(0x91)],
    ['an array of four thousand millions', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5)],
  ])('refuses %s before it decodes any of it', (_, body) => {
    const frame = new Uint8Array(4 + body.length);
    new DataView(frame.buffer).setUint32(0, body.length, true);
    frame.set(body, 4);

    expect(() => reader().push(frame)).toThrow('too many values');
  });

  it('counts as the encoder does: of any value, every key and value, and never reads past the end', () => {
    const leaf = fc.oneof(fc.integer(), fc.double(), fc.boolean(), fc.string(), fc.constant(null), fc.uint8Array());
    const big = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
    const tree = fc.oneof(leaf, big, fc.array(fc.oneof(leaf, fc.array(leaf))), fc.dictionary(keys, leaf));
    fc.assert(
      fc.property(tree, (value) => {
        const packed = pack(value);
        const count = countValues(value);

        expect(isSmall(packed, count)).toBe(true);
        expect(isSmall(packed, count - 1)).toBe(false);
        expect(isSmall(packed.subarray(0, -1), count)).toBe(false);
      }),
    );
  });
});

/** One for itself, and those of its parts. */
function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1;
  const parts = Array.isArray(value) ? value : Object.entries(value).flat();
  return parts.reduce((sum: number, part) => sum + countValues(part), 1);
}

describe('the cost of a frame', () => {
  afterEach(() => void vi.restoreAllMocks());

  /** Bytes that are copied by `work`, by whichever method of a typed array. */
  function copiedBy(work: () => void): number {
    let copied = 0;
    const { set, slice } = Uint8Array.prototype;
    vi.spyOn(Uint8Array.prototype, 'set').mockImplementation(function (this: Uint8Array, source, offset) {
      copied += source.length;
      set.call(this, source, offset);
    });
    vi.spyOn(Uint8Array.prototype, 'slice').mockImplementation(function (this: Uint8Array, start, end) {
      const copy = slice.call(this, start, end);
      copied += copy.length;
      return copy as Uint8Array<ArrayBuffer>;
    });
    work();
    vi.restoreAllMocks();
    return copied;
  }

  it.each([1, 7, 100, 4096, 65536])('is linear in its length when it comes in pieces of %i bytes', (size) => {
    const frame = encodeFrame({ data: new Uint8Array(50_000) });
    const reader = new FrameReader();
    let received = 0;

    const copied = copiedBy(() => {
      for (let at = 0; at < frame.length; at += size) received += reader.push(frame.subarray(at, at + size)).length;
    });

    expect(received).toBe(1);
    expect(copied).toBeLessThan(4 * frame.length);
  });

  it('is no copy at all when it comes whole', () => {
    const frames = joined([encodeFrame({ data: new Uint8Array(1000) }), encodeFrame({ data: new Uint8Array(1000) })]);

    const copied = copiedBy(() => void new FrameReader().push(frames));

    expect(copied).toBe(0);
  });
});
