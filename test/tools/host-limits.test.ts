/** A host as a process, with few file descriptors, and clients that want more than there are. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { shareFds } from '../../iommu/kernel/fd-shares.ts';
import { close } from '../../platform/libc/fd.ts';
import { getRlimit, RLIMIT_NOFILE, setRlimit } from '../../platform/libc/other-process.ts';
import { connectUnix } from '../../platform/libc/unix-socket.ts';
import { HostClient } from '../../tools/clients/host-client.ts';
import type { Child } from '../../tools/launch/child.ts';
import { ClientProcess } from '../devices/clients/client-process.ts';
import { firstLine, Sandbox } from './livevmm-process.ts';

const FDS = 200;

let sandbox: Sandbox;
let host: Child;
let socket: string;
let greedy: ClientProcess[];

beforeEach(async () => {
  sandbox = new Sandbox();
  socket = join(sandbox.dir, 'host.sock');
  greedy = [];
  host = sandbox.startWithFds(FDS, 'host', '--socket', socket, '--device', 'edu', '--json');
  await firstLine(host);
});

afterEach(async () => {
  await Promise.all(greedy.map((client) => client.end()));
  await host.stop();
  sandbox.remove();
});

/** One more process that opens what it can: how many files it got, and the errno of the next. */
async function takeAll(): Promise<{ readonly opened: number; readonly code: string }> {
  const client = new ClientProcess('greedy', socket);
  greedy.push(client);
  return (await client.says()) as { opened: number; code: string };
}

/** Somebody else's calls: open files of each client, as the host tells. */
function filesOfClients(): number[] {
  const client = new HostClient(socket);
  try {
    return client.ask({ op: 'info' }).clients.map(({ files }) => files.length);
  } finally {
    client.close();
  }
}

/** Its own; one beyond its limit has come from whoever started this test. */
const hostFds = (): number[] =>
  readdirSync(`/proc/${host.pid}/fd`)
    .map(Number)
    .filter((fd) => fd < FDS);

/** Connections that say nothing, as many as the host needs for its fds to be 0 to N. */
async function fillHoles(): Promise<number[]> {
  const silent: number[] = [];
  for (let fds = hostFds(); Math.max(...fds) >= fds.length; fds = hostFds()) {
    silent.push(connectUnix(socket));
    await vi.waitUntil(() => hostFds().length > fds.length, { timeout: 10_000 });
  }
  return silent;
}

describe('a host with 200 file descriptors', () => {
  it('gives one process EMFILE when it has as many connections as are left, and goes on serving others', async () => {
    const { opened, code } = await takeAll();

    // Of 51 fds for connections 26: four by which the host looks into it, and its task channel.
    expect([opened, code]).toEqual([21, 'EMFILE']);
    expect(filesOfClients()).toEqual([opened, 1]);
  });

  it('has some left after two such processes, and all of it again when they are dead', async () => {
    const taken = [await takeAll(), await takeAll()];

    expect(taken.map(({ code }) => code)).toEqual(['EMFILE', 'EMFILE']);
    expect(filesOfClients()).toHaveLength(3);
    await Promise.all(greedy.splice(0).map((client) => client.end()));
    await vi.waitUntil(() => filesOfClients().length === 1, { timeout: 10_000 });
    expect(await takeAll()).toEqual(taken[0]);
  });

  it('has what it needs itself when its clients have all of theirs', () => {
    const { connections, memory, watchesOfDevice } = shareFds(FDS, 1);

    expect(filesOfClients()).toEqual([1]);
    expect(hostFds().length).toBeLessThan(FDS - connections - memory - watchesOfDevice);
  });

  it('that has not one fd left for a connection serves those that it has, and new ones when it has again', async () => {
    const early = new HostClient(socket);
    const { hard, soft } = getRlimit(host.pid, RLIMIT_NOFILE);
    const silent = await fillHoles();

    setRlimit(host.pid, RLIMIT_NOFILE, { soft: BigInt(hostFds().length), hard });
    // It is noticed when the hello is sent, or when its answer is waited for.
    const closed = /EPIPE|the host is gone/;
    expect(() => new HostClient(socket)).toThrow(closed);
    expect(() => new HostClient(socket)).toThrow(closed);
    expect(early.ask({ op: 'timeline', bdf: '0000:00:02.0', fromNs: 0, toNs: 1 }).buckets).toEqual([]);
    setRlimit(host.pid, RLIMIT_NOFILE, { soft, hard });

    for (const fd of silent) close(fd);
    expect(filesOfClients()).toEqual([2]); // early’s and its own, of one process
    early.close();
  });
});
