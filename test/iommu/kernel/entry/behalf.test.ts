/** Calls that one process makes for threads of another (behalf.ts). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU } from '../../../../iommu/abi/vfio.ts';
import { openerOf } from '../../../../iommu/kernel/entry/behalf.ts';
import { Connection, name } from '../test-client.ts';
import { hostOfTests } from '../test-host.ts';

const host = hostOfTests({ devices: [{ type: 'edu', properties: {} }] });
const isRoot = process.getuid!() === 0;
let other: ChildProcess;

const start = async (uid?: number): Promise<ChildProcess> => {
  const child = spawn('sleep', ['600'], { stdio: 'ignore', ...(uid === undefined ? {} : { uid, gid: uid }) });
  await once(child, 'spawn');
  return child;
};

beforeEach(async () => {
  other = await start();
});
afterEach(() => void other.kill('SIGKILL'));

async function enter(hello: unknown): Promise<string> {
  const channel = await Connection.to(host.socketPath);
  const reply = await channel.ask(hello);
  channel.socket.destroy();
  return reply === 'hung up' ? reply : name(reply.ret);
}

describe('a channel for a thread of another process', () => {
  it('sees that process’s fds, and not the peer’s', async () => {
    const mine = await host.connect();
    const container = await mine.open('/dev/vfio/vfio');
    const channel = await Connection.to(host.socketPath);
    expect(await channel.ask({ task: other.pid, pid: other.pid })).toMatchObject({ ret: 0 });

    const request = { op: 'ioctl', fd: container, nr: VFIO_CHECK_EXTENSION, arg: VFIO_TYPE1v2_IOMMU };
    expect(await mine.request(request)).toMatchObject({ ret: 1 });
    expect(await channel.ask(request)).toMatchObject({ ret: expect.toSatisfy((ret: number) => ret < 0) });
    expect(await channel.ask({ ...request, fd: 0 })).toMatchObject({ foreign: true }); // its /dev/null
    channel.socket.destroy();
  });

  it('is ESRCH for a thread that the process does not have', async () => {
    expect(await enter({ task: process.pid, pid: other.pid })).toBe('-ESRCH');
    expect(await enter({ task: 1, pid: 2 ** 30 })).toBe('-ESRCH');
  });

  it('is EPROTO for a pid that is none', async () => {
    expect(await enter({ task: 1, pid: 'self' })).toBe('hung up');
  });

  it('is EPERM where the process is another user’s, and for root it is not', () => {
    const mine = process.getuid!();
    const peer = { pid: process.pid, uid: mine + 1 };
    expect(() => openerOf(peer, other.pid)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(openerOf({ ...peer, uid: 0 }, other.pid)).toEqual({ pid: other.pid, uid: mine });
  });

  it.skipIf(!isRoot)('of another user is for root', async () => {
    const foreign = await start(64321);
    expect(await enter({ task: foreign.pid, pid: foreign.pid })).toBe('0');
    foreign.kill('SIGKILL');
  });
});
