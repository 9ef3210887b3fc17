import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { close } from '../../platform/libc/fd.ts';
import { bindUnix } from '../../platform/libc/unix-socket.ts';
import { takeTurn } from '../../platform/turn.ts';

const LONG = 3_600_000;
const FOR_EVER = { holderMs: LONG, totalMs: LONG };
const LISTENER = 'net.createServer().listen(process.argv[1], () => console.log())';
const NO_TIME = { holderMs: LONG, totalMs: 0 };

let folder: string;
let path: string;
const held: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-turn-'));
  path = join(folder, 'turn');
});
afterEach(() => {
  for (const fd of held.splice(0)) close(fd);
  rmSync(folder, { recursive: true });
});

async function take(patience = FOR_EVER, paths = [path]): Promise<number | undefined> {
  const fd = await takeTurn(paths, patience);
  if (fd !== undefined) held.push(fd);
  return fd;
}

function end(fd: number | undefined): void {
  close(fd!);
  held.splice(held.indexOf(fd!), 1);
}

describe('a turn', () => {
  it('is had at once when nobody has it, and by nobody else then', async () => {
    expect(await take()).toEqual(expect.any(Number));
    expect(await take(NO_TIME)).toBeUndefined();
  });

  it('goes to those who wait, one after the other, each as soon as it ends', async () => {
    const first = await take();
    let had = 0;
    const waiting = [1, 2, 3].map(async () => {
      const fd = await take();
      had += 1;
      return fd;
    });
    expect(await take(NO_TIME)).toBeUndefined();
    expect(had).toBe(0);
    end(first);
    await vi.waitUntil(() => had === 1);
    expect(await take({ holderMs: LONG, totalMs: 50 })).toBeUndefined();
    expect(had).toBe(1);
    end(held[0]);
    await vi.waitUntil(() => had === 2);
    end(held[0]);
    await Promise.all(waiting);
    expect(had).toBe(3);
  });

  it('ends with a holder that is killed', async () => {
    const holder = spawn(process.execPath, ['-e', LISTENER, path]);
    await once(holder.stdout, 'data');
    const waiting = take();
    expect(await take({ holderMs: LONG, totalMs: 1 })).toBeUndefined();
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    expect(await waiting).toEqual(expect.any(Number));
  });

  it('is had although a dead holder left its socket', async () => {
    close(bindUnix(path, 0o600));
    expect(await take(NO_TIME)).toEqual(expect.any(Number));
  });

  it('is taken from a holder that takes too long', async () => {
    const stuck = await take();
    expect(await take({ holderMs: 20, totalMs: LONG })).toEqual(expect.any(Number));
    end(stuck); // which ends nothing any more
    expect(await take(NO_TIME)).toBeUndefined();
  });

  it('may be one of several', async () => {
    const paths = [path, join(folder, 'other')];
    const [, second] = [await take(NO_TIME, paths), await take(NO_TIME, paths)];
    expect(held).toHaveLength(2);
    expect(await take(NO_TIME, paths)).toBeUndefined();
    const waiting = take(FOR_EVER, paths);
    end(second);
    expect(await waiting).toEqual(expect.any(Number));
  });

  it('is waited for no longer when the signal aborts', async () => {
    await take();
    const controller = new AbortController();
    const waiting = takeTurn([path], FOR_EVER, controller.signal);
    controller.abort();
    expect(await waiting).toBeUndefined();
    expect(await takeTurn([path], FOR_EVER, controller.signal)).toBeUndefined();
  });

  it('cannot be had where there is no folder, and nobody waits for it', async () => {
    expect(await take(FOR_EVER, [join(folder, 'missing', 'turn')])).toBeUndefined();
  });
});
