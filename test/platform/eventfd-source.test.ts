import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createEventfdSources, EventfdSources, NR_SOURCES } from '../../platform/eventfd-source.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead } from '../../platform/libc/eventfd.ts';
import { close, dup } from '../../platform/libc/fd.ts';
import { write } from '../../platform/libc/file-bytes.ts';
import { startWorker } from '../../platform/thread.ts';
import { canRing } from './rings.ts';
import type { SignalWork } from './signal-worker.ts';

let memory: SharedArrayBuffer;
let sources: EventfdSources;
let fd: number;
beforeEach(() => {
  memory = createEventfdSources();
  sources = new EventfdSources(memory);
  fd = eventfd(0, EFD_CLOEXEC);
});
afterEach(() => {
  sources.dispose();
  close(fd);
});

const openFds = (): number => readdirSync('/proc/self/fd').length;
const FULL = new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer);

describe('EventfdSources', () => {
  it('add 1 to the count for each signal', () => {
    const source = sources.open(dup(fd));
    for (let i = 0; i < 1000; i++) sources.signal(source);

    expect(eventfdRead(fd)).toBe(1000);
    sources.close(source);
  });

  it('never block on a blocking eventfd that is full: its count goes to its maximum and stays there', () => {
    const source = sources.open(dup(fd));
    write(fd, FULL);

    for (let i = 0; i < 300; i++) sources.signal(source);

    expect(eventfdRead(fd)).toBe(2 ** 64);
    sources.close(source);
  });

  it.runIf(canRing)('signal through the rings of the next owner, when an earlier one has given its rings back', () => {
    const first = new EventfdSources(memory);
    const source = first.open(dup(fd));
    sources.signal(source);
    first.close(source);
    first.dispose();
    const others = new EventfdSources(createEventfdSources());
    const other = others.open(eventfd(0, EFD_CLOEXEC)); // its ring takes the place of the one that is gone
    const next = new EventfdSources(memory);
    expect(next.open(dup(fd))).toBe(source);

    sources.signal(source);

    expect(eventfdRead(fd)).toBe(2);
    next.close(source);
    next.dispose();
    others.close(other);
    others.dispose();
  });

  it('lose no signal of many threads that signal one at once', async () => {
    const [threads, times] = [4, 20_000];
    const source = sources.open(dup(fd));
    const ready = new SharedArrayBuffer(4);
    const work: SignalWork = { sources: memory, source, times, ready, threads };
    const workers = Array.from({ length: threads }, () =>
      startWorker('test/platform/signal-worker', work, { name: 'signaller' }),
    );

    await Promise.all(workers.map((worker) => once(worker, 'exit')));

    expect(eventfdRead(fd)).toBe(threads * times);
    sources.close(source);
  });

  it.skipIf(!canRing)('take one fd each for as many as were ever open at once', () => {
    sources.close(sources.open(dup(fd)));
    const before = openFds();

    for (let i = 0; i < 100; i++) sources.close(sources.open(dup(fd)));
    const [a, b] = [sources.open(dup(fd)), sources.open(dup(fd))];

    expect(openFds()).toBe(before + 1);
    sources.close(a);
    sources.close(b);
  });

  it('signal an eventfd that all others have closed', () => {
    const source = sources.open(eventfd(0, EFD_CLOEXEC));

    expect(() => sources.signal(source)).not.toThrow();

    sources.close(source);
  });

  it.skipIf(!canRing)('are EINVAL for what is no eventfd, and close it', () => {
    const before = openFds();

    expect(() => sources.open(dup(1))).toThrow(expect.objectContaining({ code: 'EINVAL' }));

    expect(openFds()).toBe(before + 1); // the ring
  });

  it('are ENOSPC when there are too many', () => {
    const few = new EventfdSources(createEventfdSources(), 0, 2);
    const open = [few.open(dup(fd)), few.open(dup(fd))];

    expect(() => few.open(dup(fd))).toThrow(expect.objectContaining({ code: 'ENOSPC' }));

    for (const source of open) few.close(source);
    few.dispose();
    expect(NR_SOURCES).toBeGreaterThan(2048);
  });
});

describe('a process under a seccomp filter', () => {
  const script = fileURLToPath(new URL('./filtered-signaller.ts', import.meta.url));
  const run = async (denied: string): Promise<unknown> => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, denied]);
    return JSON.parse(stdout);
  };
  const ioUring = '425';
  const ioSetup = process.arch === 'arm64' ? '0' : '206';
  const POLLIN_AND_POLLERR = 9;

  it.skipIf(!canRing)('that allows all signals by rings, which keep no file of the eventfd', async () => {
    expect(await run('')).toEqual({ count: 105, full: POLLIN_AND_POLLERR, open: 0, left: 0 });
  });

  it('without io_uring signals by aio, which keeps the file', async () => {
    expect(await run(ioUring)).toEqual({ count: 105, full: POLLIN_AND_POLLERR, open: 1, left: 0 });
  });

  it('without io_uring and aio is told so', async () => {
    expect(await run(`${ioUring},${ioSetup}`)).toEqual({ errno: 'ENOSYS', left: 0 });
  });
});
