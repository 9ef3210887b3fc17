/**
 * A file whose release takes longer than its close: whoever has closed it can wait for it, and
 * nobody else has to.
 */
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';
import { dropped, OpenFile, releaseGoesOn } from '../../../../iommu/kernel/core/open-file.ts';
import { FileTable } from '../../../../iommu/kernel/entry/file-table.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { connectUnix } from '../../../../platform/libc/unix-socket.ts';

let finish: () => void;
let fd: number;
let stop: () => void;

beforeEach(async () => {
  const path = join(tmpdir(), `livevmm-release-${process.pid}.sock`);
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  fd = connectUnix(path);
  stop = () => {
    close(fd);
    for (const socket of sockets) socket.destroy();
    server.close();
  };
});
afterEach(() => stop());

const slowFile = (): OpenFile =>
  new OpenFile({
    name: 'slow',
    ioctl: () => 0,
    release: () => releaseGoesOn(new Promise((resolve) => (finish = resolve))),
  });

it('is waited for by the process that held it', async () => {
  const files = new FileTable();
  const held = { inode: 1, file: slowFile(), socketFd: fd, pid: 10, disconnect: () => undefined };
  files.add(held);
  files.close(held);

  let over = false;
  const rest = files.releasing(10)?.then(() => {
    over = true;
  });
  expect(rest).toBeDefined();
  expect(files.releasing(11)).toBeUndefined();
  await new Promise((resolve) => setImmediate(resolve));
  expect(over).toBe(false);

  finish();
  await rest;
  expect(over).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  expect(files.releasing(10)).toBeUndefined();
  files.closeAll();
});

it('is told to the innermost that drops', () => {
  const inner = slowFile();
  let rest: unknown;
  const outer = dropped(() => {
    rest = dropped(() => inner.put());
  });
  expect(rest).toBeInstanceOf(Promise);
  expect(outer).toBeUndefined();
  finish();
});
