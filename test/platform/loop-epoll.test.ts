import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextRound } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { handleFd } from '../../platform/handle-fd.ts';
import { epollAdd, epollCreate, epollWait } from '../../platform/libc/epoll.ts';
import { close } from '../../platform/libc/fd.ts';
import { POLLIN } from '../../platform/libc/poll.ts';
import { connectUnix } from '../../platform/libc/unix-socket.ts';
import { epollThatWatches } from '../../platform/loop-epoll.ts';

describe('the epoll instance of an event loop', () => {
  const server = createServer((socket) => socket.destroy());
  let dir: string;
  let fd: number;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'livevmm-loop-'));
    server.listen(join(dir, 'socket'));
    await once(server, 'listening');
    await nextRound();
    await nextRound();
    fd = handleFd(server)!;
  });
  afterEach(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  it('becomes readable when the event loop has something to do', () => {
    const loop = epollThatWatches(fd)!;
    const outer = epollCreate();
    epollAdd(outer, loop, POLLIN);
    const client = connectUnix(join(dir, 'socket'));

    expect(epollWait(outer, 1000)).toEqual([loop]);
    for (const one of [client, outer]) close(one);
  });

  it('is not known where several watch the fd, or none', () => {
    const other = epollCreate();
    epollAdd(other, fd, POLLIN);

    expect([epollThatWatches(fd), epollThatWatches(other)]).toEqual([undefined, undefined]);
    close(other);
  });
});
