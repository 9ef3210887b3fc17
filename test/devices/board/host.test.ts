import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, powerOnHost, startHost } from '../../../devices/board/host.ts';
import { encodeFrame, FrameReader } from '../../../platform/frames.ts';
import { gettid } from '../../../platform/libc/this-process.ts';
import { listenUnix } from '../../../platform/unix-listener.ts';

const DEVICES = [{ type: 'capture', properties: {} }];

describe('host', () => {
  let dir: string;
  let board: Board | undefined;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-host-'));
  });
  afterEach(async () => {
    await board?.stop();
    board = undefined;
    rmSync(dir, { recursive: true });
  });

  const start = async (socketPath: string): Promise<Board> => {
    board = await startHost({ devices: DEVICES, socketPath, kernelRamBytes: 16 << 20 });
    return board;
  };

  it('listens on its socket, for its user only, until it is stopped', async () => {
    const socketPath = join(dir, 'host.sock');

    const host = await start(socketPath);
    const mode = statSync(socketPath).mode & 0o777;
    await host.stop();

    expect(mode).toBe(0o600);
    expect(existsSync(socketPath)).toBe(false);
  });

  it('answers who has connected to its listener before it was there', async () => {
    const socketPath = join(dir, 'host.sock');
    const listener = listenUnix(socketPath);
    const early = createConnection(socketPath);
    early.write(encodeFrame({ task: gettid() }));
    const answer = new Promise<Uint8Array>((resolve) => early.once('data', resolve));

    board = await startHost({ devices: DEVICES, socketPath, listener, kernelRamBytes: 16 << 20 });

    expect(new FrameReader().push(await answer)).toEqual([expect.objectContaining({ ret: 0 })]);
    early.destroy();
  });

  it('that is powered on and never boots leaves no thread and no fd', async () => {
    const count = (what: 'task' | 'fd'): number => readdirSync(`/proc/self/${what}`).length;
    await (await start(join(dir, 'first.sock'))).stop();
    const before = [count('task'), count('fd')];

    const unbooted = await powerOnHost({ devices: DEVICES, kernelRamBytes: 16 << 20 });
    await unbooted.stop();

    expect([count('task'), count('fd')]).toEqual(before);
  });

  it('leaves no thread and no fd', async () => {
    const count = (what: 'task' | 'fd'): number => readdirSync(`/proc/self/${what}`).length;
    // whatever a first worker leaves in the process for good
    await (await start(join(dir, 'first.sock'))).stop();
    const before = [count('task'), count('fd')];

    await (await start(join(dir, 'second.sock'))).stop();

    expect([count('task'), count('fd')]).toEqual(before);
  });

  it('that cannot listen says why and leaves no thread', async () => {
    await (await start(join(dir, 'first.sock'))).stop();
    const before = readdirSync('/proc/self/task').length;

    await expect(start(join(dir, 'missing', 'host.sock'))).rejects.toThrow('there is no such folder');

    expect(readdirSync('/proc/self/task').length).toBe(before);
  });
});
