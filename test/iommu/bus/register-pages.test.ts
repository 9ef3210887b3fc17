import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { AWAKE, AWAY, RINGS } from '../../../iommu/abi/bell.ts';
import {
  ABANDONED,
  FREE,
  POSTED,
  QUEUE,
  RegisterPage,
  RegisterPageClient,
  SERVING,
} from '../../../iommu/abi/register-page.ts';
import { createRegisterPages, RegisterPageServer, RegisterPageTable } from '../../../iommu/bus/register-pages.ts';
import type { WaitedWord } from '../../../platform/libc/futex.ts';
import type { MailboxHandler } from '../../../platform/mailbox.ts';
import { newPart, within } from '../../../platform/shared.ts';

const PATIENCE = { takeMs: 0, wakeMs: 0, doneMs: 0, looks: 1 };
/** BAR 0 has 16 bytes, BAR 2 has 4 KiB; no other is reached. */
const SIZES = [16, 0, 4096, 0, 0, 0];

const arena = newPart(4 * 4096);
const part = within(arena, 4096, 4096);
const words = new Int32Array(part.buffer, part.offset, 1024);
const { state } = RegisterPage.word;

let table: SharedArrayBuffer;
let kernel: RegisterPageTable;
let worker: RegisterPageServer;
let client: RegisterPageClient;
/** `r4 0:8`, `w2 0:4=1234`: the accesses of the device. */
let accesses: string[];
let passes: number;

const device: MailboxHandler = {
  read(bar, at, size) {
    accesses.push(`r${size} ${bar}:${at.toString(16)}`);
    return { lo: at + 1, hi: size === 8 ? 7 : 0 };
  },
  write(bar, at, size, lo, hi) {
    accesses.push(`w${size} ${bar}:${at.toString(16)}=${(hi * 2 ** 32 + lo).toString(16)}`);
  },
};

beforeEach(() => {
  new Uint8Array(arena.buffer).fill(0);
  table = createRegisterPages();
  kernel = new RegisterPageTable(table);
  worker = new RegisterPageServer(table, arena.buffer);
  accesses = [];
  passes = 0;
  kernel.open(kernel.take(part, { sizes: SIZES, widest: 8 })!);
  worker.serve(device);
  worker.setAttentive(AWAKE);
  client = new RegisterPageClient(
    part,
    () => {
      passes++;
      worker.serve(device);
    },
    PATIENCE,
  );
});

/** A load during which the worker looks at the page, or does what else is `meanwhile`. */
function load(
  bar: number,
  at: number,
  size: number,
  meanwhile: () => void = () => worker.serve(device),
): number | undefined {
  const { now } = performance;
  performance.now = () => {
    meanwhile();
    return now.call(performance);
  };
  try {
    return client.load(bar, at, size) ? client.hi * 2 ** 32 + client.lo : undefined;
  } finally {
    performance.now = now;
  }
}

describe('a register page', () => {
  it('carries stores and loads to the device, in their order', () => {
    expect(client.store(0, 4, 4, 0x1234, 0)).toBe(true);
    expect(client.store(2, 8, 8, 1, 2)).toBe(true);
    expect(accesses).toEqual([]);

    expect(load(0, 8, 4)).toBe(9);

    expect(accesses).toEqual(['w4 0:4=1234', 'w8 2:8=200000001', 'r4 0:8']);
  });

  it.each([
    ['a BAR that it does not reach', 1, 0, 4],
    ['no BAR', 7, 0, 4],
    ['more than the BAR', 0, 12, 8],
    ['an offset that is no multiple of the size', 0, 2, 4],
    ['three bytes', 0, 0, 3],
    ['sixteen bytes', 2, 0, 16],
  ])('is not for %s', (_, bar, at, size) => {
    expect(client.allows(bar, at, size)).toBe(false);
  });

  it('takes no access while the worker does not look', () => {
    worker.setAttentive(AWAY);

    expect([client.load(0, 0, 4), client.store(0, 0, 4, 1, 0)]).toEqual([false, false]);

    worker.serve(device);
    expect(accesses).toEqual([]);
  });

  it('gives a load back that the worker does not take', () => {
    expect(client.load(0, 0, 4)).toBe(false);

    worker.serve(device);
    expect(accesses).toEqual([]);
  });

  it('takes no store when the queue is full, and goes on when it is empty', () => {
    const taken = Array.from({ length: QUEUE + 1 }, (_, i) => client.store(2, 4 * i, 4, i, 0));
    worker.serve(device);

    expect(taken.indexOf(false)).toBe(QUEUE);
    expect(accesses).toHaveLength(QUEUE);
    expect(client.store(2, 0, 4, 0, 0)).toBe(true);
  });

  it('has a store made by the kernel’s way when the worker may have looked for the last time', () => {
    const { store } = Atomics;
    Atomics.store = ((...args: Parameters<typeof store>) => {
      const result = store(...args);
      if (Number(result) === 1) {
        Atomics.store = store;
        worker.setAttentive(AWAY); // right after the store was published
      }
      return result;
    }) as typeof store;
    try {
      expect(client.store(0, 0, 4, 9, 0)).toBe(true);
    } finally {
      Atomics.store = store;
    }

    expect([passes, accesses]).toEqual([1, ['w4 0:0=9']]);
  });

  it('rings a worker that sleeps, once for all that is posted until it looks', () => {
    const [bell] = worker.fallAsleep();
    const states = [0, 4, 8].map((at) => {
      const before = words[RegisterPage.word.attentive];
      client.store(0, at, 4, 9, 0);
      return before;
    });

    expect(states).toEqual([RINGS, AWAKE, AWAKE]);
    expect(bell!.words[bell!.index]).toBe(bell!.seen + 1);
    expect(passes).toBe(0);
    worker.fallAsleep();
    expect(words[RegisterPage.word.attentive]).toBe(RINGS);
  });

  it('rings for a load, too', () => {
    const [bell] = worker.fallAsleep();

    expect(load(0, 8, 4)).toBe(9);
    expect(bell!.words[bell!.index]).toBe(bell!.seen + 1);
  });

  it('says from which CPU it rings', () => {
    words[RegisterPage.word.cpu] = -1;
    worker.fallAsleep();
    client.store(0, 0, 4, 9, 0);

    expect(words[RegisterPage.word.cpu]).toBeGreaterThanOrEqual(0);
  });

  it('knows the CPU that the bell was rung from', () => {
    const bells = worker.fallAsleep();
    const [{ words, index }] = bells as [WaitedWord];
    words[index - RegisterPage.word.bell + RegisterPage.word.cpu] = 3;
    expect(worker.rangFrom(3, bells)).toBe(false);
    words[index]!++;

    expect([worker.rangFrom(3, bells), worker.rangFrom(2, bells)]).toEqual([true, false]);
  });

  it('has no bell when it is taken away', () => {
    kernel.beginClose(0);
    worker.serve(device);

    expect(worker.fallAsleep()).toEqual([]);
  });

  it('carries what was posted when it is taken away, and nothing after', () => {
    client.store(0, 0, 4, 1, 0);
    kernel.beginClose(0);
    worker.serve(device);
    kernel.endClose(0);

    expect(accesses).toEqual(['w4 0:0=1']);
    expect([client.store(0, 0, 4, 2, 0), client.load(0, 0, 4)]).toEqual([false, false]);
    worker.serve(device);
    expect(accesses).toHaveLength(1);
  });

  it('drops what was posted while it was taken away, and works again', () => {
    kernel.beginClose(0);
    worker.serve(device);
    kernel.endClose(0);
    words[RegisterPage.word.attentive] = 1; // as a client that has not seen that the worker looks no more
    client.store(0, 0, 4, 1, 0);
    kernel.open(0);

    expect(load(0, 4, 4)).toBe(5);

    expect(accesses).toEqual(['r4 0:4']);
  });

  it('gives up a load that the worker has taken and does not make, with ones, and takes no other', () => {
    client = new RegisterPageClient(part, () => {}, PATIENCE); // the kernel gets no answer either
    const taken = (): void => {
      words[state] = SERVING; // as a worker that has lost its CPU
    };
    expect(load(0, 4, 4, taken)).toBe(0xffff_ffff + 0xffff_ffff * 2 ** 32);

    expect(words[state]).toBe(ABANDONED);
    expect([client.load(0, 8, 4), client.store(0, 0, 4, 1, 0)]).toEqual([false, true]);
  });

  it('is free when the worker comes back to a load that was given up', () => {
    const slow: MailboxHandler = {
      ...device,
      read(...access) {
        words[state] = ABANDONED;
        return device.read(...access);
      },
    };
    words[state] = POSTED;
    words[RegisterPage.word.what] = 4 << 8;

    worker.serve(slow);

    expect(words[state]).toBe(FREE);
    expect(load(0, 4, 4)).toBe(5);
  });

  it('is free when it comes again after a load that was under way when it was taken away', () => {
    kernel.beginClose(0);
    worker.serve(device);
    kernel.endClose(0);
    words[state] = ABANDONED;
    kernel.open(0);

    worker.serve(device);

    expect(words[state]).toBe(FREE);
  });

  it('is not touched by a load in whose middle it was taken away and given to somebody else', () => {
    const revoking: MailboxHandler = {
      ...device,
      read(...access) {
        kernel.beginClose(0);
        worker.serve(device);
        kernel.endClose(0);
        kernel.open(0);
        worker.serve(device);
        words[state] = SERVING;
        return device.read(...access);
      },
    };
    words[state] = POSTED;
    words[RegisterPage.word.what] = 4 << 8;

    worker.serve(revoking);

    expect(words[state]).toBe(SERVING);
  });

  it('is one of eight', () => {
    const entries = Array.from({ length: 8 }, () => kernel.take(part, { sizes: SIZES, widest: 4 }));
    kernel.free(3);

    expect(entries).toEqual([1, 2, 3, 4, 5, 6, 7, undefined]);
    expect(kernel.take(part, { sizes: SIZES, widest: 4 })).toBe(3);
  });

  it('may be served again in the middle of an access, which is made once', () => {
    const nested: MailboxHandler = {
      ...device,
      write(...access) {
        device.write(...access);
        worker.serve(nested);
      },
    };
    for (const value of [1, 2, 3]) client.store(0, 0, 4, value, 0);

    worker.serve(nested);

    expect(accesses).toEqual(['w4 0:0=1', 'w4 0:0=2', 'w4 0:0=3']);
  });
});

it('a client that scribbles on its page makes no access that the kernel does not allow, and an end is reached', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1023), fc.integer()), { maxLength: 40 }), fc.integer(), (scribbles, state) => {
      accesses = [];
      for (const [word, value] of scribbles) words[word] = value;
      words[0] = state % 2;
      worker.serve(device);
      for (const access of accesses) expect(access).toMatch(/^[rw][1248] [02]:/);
      expect(accesses.length).toBeLessThanOrEqual(2 * QUEUE + 1);
      const others = new Uint8Array(arena.buffer);
      expect(others.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
      expect(others.subarray(8192).every((byte) => byte === 0)).toBe(true);
    }),
  );
});
