import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import {
  CALL_PAGE_DATA,
  CALL_PAGES,
  CallPageClient,
  CallPageServer,
  type Passed,
} from '../../../iommu/abi/call-page.ts';
import type { FileRequest, Reply } from '../../../iommu/abi/wire.ts';
import { SysError } from '../../../platform/errno.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { newPart, type SharedPart, within } from '../../../platform/shared.ts';

/** A clock that the client looks at: at each look, the kernel may do something. */
const PATIENCE = { takeMs: 50, wakeMs: 50, sleepMs: 50, answerMs: 50, looks: 1 };

let page: SharedPart;
let server: CallPageServer;
let client: CallPageClient;

beforeEach(() => {
  page = newPart(CALL_PAGES * PAGE_SIZE);
  server = new CallPageServer(page);
  client = new CallPageClient(page, PATIENCE);
  server.setAttentive(true);
});

/** Makes a call; the kernel does `then` at the client's next look at the clock. */
function call(make: () => Passed, then: () => void): Passed {
  const { now } = performance;
  let looks = 0;
  performance.now = () => {
    if (looks++ === 0) then();
    return now.call(performance);
  };
  try {
    return make();
  } finally {
    performance.now = now;
  }
}

const bytes = fc.uint8Array({ maxLength: 64 });
const fd = fc.integer({ min: -1, max: 5000 });
const long = fc.maxSafeInteger();
const requests: fc.Arbitrary<FileRequest> = fc.oneof(
  fc.record({ op: fc.constant('ioctl' as const), fd, nr: fc.nat(2 ** 31), arg: fc.oneof(bytes, long) }),
  fc.record({ op: fc.constant('pread' as const), fd, offset: long, length: fc.nat(CALL_PAGE_DATA) }),
  fc.record({ op: fc.constant('pwrite' as const), fd, offset: long, data: bytes }),
);
const replies: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ ret: fc.integer() }),
  fc.record({ ret: fc.integer(), out: bytes }),
);

function made(request: FileRequest): Passed {
  switch (request.op) {
    case 'ioctl':
      return client.ioctl(request.fd, request.nr, request.arg);
    case 'pread':
      return client.pread(request.fd, request.offset, request.length);
    case 'pwrite':
      return client.pwrite(request.fd, request.offset, request.data);
    default:
      throw new Error(request.op);
  }
}

describe('a call by the page', () => {
  it('reaches the kernel as it was made, and its answer the client', () => {
    fc.assert(
      fc.property(requests, replies, (request, reply) => {
        let seen: FileRequest | undefined;
        const passed = call(
          () => made(request),
          () => {
            seen = server.take();
            server.answer(reply);
          },
        );
        const out = new Uint8Array(64).fill(0xee);
        client.takeOut(out);

        expect(seen).toEqual(request);
        expect([passed, client.ret]).toEqual(['answered', reply.ret]);
        const { length = 0 } = reply.out ?? {};
        expect(out.subarray(0, length)).toEqual(reply.out ?? new Uint8Array(0));
        expect(out.subarray(length).every((byte) => byte === 0xee)).toBe(true);
        client.free();
      }),
    );
  });

  it.each([
    ['a struct that is too long', () => client.ioctl(3, 1, new Uint8Array(CALL_PAGE_DATA + 1))],
    ['a number beyond 53 bits', () => client.ioctl(3, 1, 1n << 60n)],
    ['an offset beyond 53 bits', () => client.pread(3, 1n << 62n, 4)],
    ['a read that is too long', () => client.pread(3, 0, CALL_PAGE_DATA + 1)],
    ['a write that is too long', () => client.pwrite(3, 0, new Uint8Array(CALL_PAGE_DATA + 1))],
  ])('is not for %s', (_, make) => {
    expect(make()).toBe('refused');
    expect(server.take()).toBeUndefined();
  });

  it('moves a page of data, there and back', () => {
    const struct = new Uint8Array(40 + PAGE_SIZE).fill(7);
    let seen: FileRequest | undefined;
    const passed = call(
      () => client.ioctl(3, 1, struct),
      () => {
        seen = server.take();
        server.answer({ ret: 0, out: new Uint8Array(struct.length).fill(9) });
      },
    );
    client.takeOut(struct);

    expect([passed, seen]).toEqual([
      'answered',
      { op: 'ioctl', fd: 3, nr: 1, arg: new Uint8Array(40 + PAGE_SIZE).fill(7) },
    ]);
    expect(struct).toEqual(new Uint8Array(40 + PAGE_SIZE).fill(9));
  });

  it('of a client or host that knows one page only is short enough for that one', () => {
    const one = within(page, 0, PAGE_SIZE);
    const before = new CallPageClient(one, PATIENCE);
    expect(before.ioctl(3, 1, new Uint8Array(PAGE_SIZE))).toBe('refused');
    expect(before.pread(3, 0, PAGE_SIZE)).toBe('refused');
    expect(before.pwrite(3, 0, new Uint8Array(PAGE_SIZE))).toBe('refused');

    const earlier = new CallPageServer(one);
    call(
      () => client.pread(3, 0, PAGE_SIZE),
      () => expect(() => earlier.take()).toThrow(expect.objectContaining({ code: 'EPROTO' })),
    );
  });

  it('is not made while the kernel does not look', () => {
    server.setAttentive(false);

    expect(client.ioctl(3, 1, 2)).toBe('refused');

    expect(server.take()).toBeUndefined();
  });

  it('is taken back when the kernel does not take it', () => {
    const hasty = new CallPageClient(page, { takeMs: 0, wakeMs: 0, sleepMs: 0, answerMs: 0, looks: 1 });

    expect(hasty.ioctl(3, 1, 2)).toBe('refused');

    expect(server.take()).toBeUndefined();
  });

  it.each<[string, Reply]>([
    ['says more than a number and bytes', { ret: -22, message: 'no' }],
    ['brings a token', { ret: 0, token: 7 }],
    ['is too long', { ret: 0, out: new Uint8Array(CALL_PAGE_DATA + 1) }],
  ])('has its answer on the socket when that %s', (_, reply) => {
    let answered: boolean | undefined;
    const passed = call(
      () => client.ioctl(3, 1, 2),
      () => {
        server.take();
        answered = server.answer(reply);
      },
    );

    expect([passed, answered]).toEqual(['by-socket', false]);
  });

  it('has its answer on the socket when the client has waited long enough', () => {
    const hasty = new CallPageClient(page, { takeMs: 50, wakeMs: 50, sleepMs: 0, answerMs: 0, looks: 1 });

    const passed = call(
      () => hasty.ioctl(3, 1, 2),
      () => server.take(),
    );

    expect([passed, server.answer({ ret: 0 })]).toEqual(['by-socket', false]);
  });
});

it('a client that scribbles on its page gets calls or EPROTO, and never more bytes than the page has', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(63), fc.integer()), { maxLength: 20 }), fc.boolean(), (scribbles, late) => {
      const words = new Int32Array(page.buffer);
      words.fill(0);
      const scribble = (): void => {
        for (const [word, value] of scribbles) words[word] = value;
      };
      if (!late) scribble();
      words[0] = 1;
      let request: FileRequest | undefined;
      try {
        request = server.take();
      } catch (error) {
        expect(error).toBeInstanceOf(SysError);
      }
      if (late) scribble();
      if (request?.op === 'pread') expect(request.length).toBeLessThanOrEqual(CALL_PAGE_DATA);
      if (request?.op === 'pwrite') expect(request.data.buffer).not.toBe(page.buffer);
      expect(typeof server.answer({ ret: 1, out: new Uint8Array(CALL_PAGE_DATA) })).toBe('boolean');
    }),
  );
});
