import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { getCloexec } from '../../../platform/libc/fd.ts';
import { startWorker } from '../../../platform/thread.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import {
  NR_BY_VALUE,
  NR_HANG_UP,
  NR_NEW_FD,
  NR_REFUSED,
  NR_SPLIT,
  NR_STRUCT,
  REFUSED_BYTE,
} from '../../fakes/fake-ioctls.ts';

let dir: string;
let path: string;
let kernel: Worker;
let client: KernelClient;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-client-'));
  path = join(dir, 'host.sock');
  kernel = startWorker('test/fakes/fake-kernel', path, { name: 'fake kernel' });
  await new Promise((resolve, reject) => {
    kernel.once('message', resolve);
    kernel.once('error', reject);
  });
  client = new KernelClient(path);
});

afterAll(async () => {
  client.disconnect();
  await kernel.terminate();
  rmSync(dir, { recursive: true });
});

const withCode = (code: string, message: string) => expect.objectContaining({ code, message });

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe('kernel client', () => {
  it('opens a file as a close-on-exec socket of this process, and closes it', () => {
    const fd = client.open('/dev/vfio/vfio');
    expect(fstatSync(fd).isSocket()).toBe(true);
    expect(getCloexec(fd)).toBe(true);
    client.close(fd);
    expect(() => fstatSync(fd)).toThrow('EBADF');
  });

  it('throws the errno of an open and leaves no fd behind', () => {
    const before = client.open('/dev/vfio/vfio');
    client.close(before);
    expect(thrownBy(() => client.open('/dev/nothing'))).toEqual(withCode('ENOENT', 'open /dev/nothing: ENOENT'));
    const after = client.open('/dev/vfio/vfio');
    client.close(after);
    expect(after).toBe(before);
  });

  it('passes ioctl arguments by value', () => {
    expect(client.ioctl(3, NR_BY_VALUE, 42)).toBe(42);
  });

  it('writes a struct back in place', () => {
    const arg = new Uint8Array([1, 2, 3]);
    expect(client.ioctl(3, NR_STRUCT, arg)).toBe(0);
    expect([...arg]).toEqual([2, 3, 4]);
  });

  it('makes one ioctl over an array of structs in few requests, and writes back what each has written', () => {
    const args = Uint8Array.from({ length: 5000 }, (_, i) => i % 100);
    client.ioctls(3, NR_STRUCT, args, 2);
    expect([...args]).toEqual(Array.from({ length: 5000 }, (_, i) => (i % 100) + 1));
    client.ioctls(3, NR_STRUCT, new Uint8Array(0), 2);
  });

  it('stops at the first struct that is refused, and says which one it was', () => {
    const args = new Uint8Array(2500);
    args[2000] = REFUSED_BYTE;
    expect(thrownBy(() => client.ioctls(3, NR_STRUCT, args, 1))).toEqual(
      withCode('EBUSY', 'ioctl 0x2, 2001 of 2500: in use'),
    );
    expect([0, 1999, 2001, 2499].map((i) => args[i])).toEqual([1, 1, 0, 0]);
  });

  it('throws the errno of an ioctl with the words of the kernel', () => {
    expect(thrownBy(() => client.ioctl(3, NR_REFUSED, 0))).toEqual(withCode('EBUSY', 'ioctl 0x4: the group is in use'));
  });

  it('turns a token into a new fd (VFIO_GROUP_GET_DEVICE_FD)', () => {
    const fd = client.ioctl(3, NR_NEW_FD, new Uint8Array(4));
    expect(fstatSync(fd).isSocket()).toBe(true);
    client.close(fd);
  });

  it('reads and writes at offsets', () => {
    const bytes = new Uint8Array(5);
    expect(client.pread(9, 2 ** 41, bytes)).toBe(5);
    expect([...bytes]).toEqual([9, 9, 9, 9, 9]);
    expect(client.pwrite(9, 0, bytes)).toBe(5);
  });

  it('puts a long answer together', () => {
    const arg = new Uint8Array(300_000);
    client.ioctl(3, NR_SPLIT, arg);
    expect(arg.every((byte) => byte === 7)).toBe(true);
  });

  it('asks the control device', () => {
    expect(client.control(3, { op: 'info' })).toEqual({ asked: 'info' });
  });

  it('throws EPIPE when the host hangs up, at that call and at the next', () => {
    const doomed = new KernelClient(path);
    expect(thrownBy(() => doomed.ioctl(3, NR_HANG_UP, 0))).toEqual(withCode('EPIPE', 'the host is gone'));
    expect(thrownBy(() => doomed.ioctl(3, NR_BY_VALUE, 0))).toEqual(withCode('EPIPE', 'the host is gone'));
    doomed.disconnect();
  });

  it('says where no host listens', () => {
    const nowhere = join(dir, 'nowhere.sock');
    expect(thrownBy(() => new KernelClient(nowhere))).toEqual(withCode('ENOENT', `connect ${nowhere}: ENOENT`));
  });
});
