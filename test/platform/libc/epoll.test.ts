import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { handleFd } from '../../../platform/handle-fd.ts';
import { HangUpSet } from '../../../platform/libc/epoll.ts';
import { close, dup } from '../../../platform/libc/fd.ts';
import { connectUnix } from '../../../platform/libc/unix-socket.ts';

describe('a set of fds that may hang up', () => {
  let dir: string;
  let server: Server;
  let hangUps: HangUpSet;
  const ends: Socket[] = [];

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'hang-up-'));
    server = createServer({ allowHalfOpen: true }, (socket) => ends.push(socket.pause()));
    server.listen(join(dir, 'socket'));
    await once(server, 'listening');
    hangUps = new HangUpSet();
  });
  afterEach(() => {
    hangUps.close();
    for (const end of ends.splice(0)) end.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });

  /** A client's fd, and the server's of the same connection. */
  async function connect(): Promise<{ client: number; fd: number }> {
    const client = connectUnix(join(dir, 'socket'));
    const [socket] = (await once(server, 'connection')) as [Socket];
    const fd = handleFd(socket)!;
    hangUps.add(fd);
    return { client, fd };
  }

  it('says which, at once and until they are removed', async () => {
    const [first, second] = [await connect(), await connect()];
    expect(hangUps.hungUp()).toEqual([]);

    close(second.client);

    expect([hangUps.hungUp(), hangUps.hungUp()]).toEqual([[second.fd], [second.fd]]);
    hangUps.remove(second.fd);
    expect(hangUps.hungUp()).toEqual([]);
    close(first.client);
    expect(hangUps.hungUp()).toEqual([first.fd]);
  });

  it('takes a dup for the file it is', async () => {
    const { client, fd } = await connect();
    const copy = dup(client);

    close(client);

    expect(hangUps.hungUp()).toEqual([]);
    close(copy);
    expect(hangUps.hungUp()).toEqual([fd]);
  });

  it('may be told to remove what is not in it', () => {
    hangUps.remove(0);
    hangUps.remove(99_999);
    expect(hangUps.hungUp()).toEqual([]);
  });
});
