import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { handleFd } from '../../platform/handle-fd.ts';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  mlock,
  mmap,
  mprotect,
  munmap,
  PROT_READ,
  PROT_WRITE,
} from '../../platform/libc/mmap.ts';
import { processVmRead, processVmWrite } from '../../platform/libc/other-process.ts';
import { gettid } from '../../platform/libc/this-process.ts';
import { MapsText } from '../../platform/maps-text.ts';
import { createMemory } from '../../platform/memory.ts';
import { AddressSpace, socketInode, threadOf } from '../../platform/process.ts';
import { hasIpcLock } from '../../platform/process-rights.ts';
import { runWhole } from '../../platform/slices.ts';
import { parseMapsLine } from '../../platform/vma.ts';
import { UNSHARE, whyNoNamespaces } from '../namespaces.ts';
import { type Mappings, VmChild } from './vm-child.ts';

describe('AddressSpace', () => {
  const PAGE = 4096;
  let space: AddressSpace;
  let vaddr: number;
  beforeEach(() => {
    space = new AddressSpace(process.pid);
    vaddr = mmap(0, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  });
  afterEach(() => {
    munmap(vaddr, 6 * PAGE);
    space.close();
  });

  it('tells the zero page, read or not, from pages that were written', ({ skip }) => {
    processVmWrite(process.pid, vaddr + 3 * PAGE, Uint8Array.of(1));
    processVmRead(process.pid, vaddr + PAGE, new Uint8Array(1));
    // PM_MMAP_EXCLUSIVE: some kernels give a page of its own also to memory that is only read
    skip(!space.privateRun(vaddr + PAGE, 1).zeroPage, 'this kernel maps no zero page');

    expect(space.privateRun(vaddr, 6)).toEqual({ nrPages: 3, zeroPage: true });
    expect(space.privateRun(vaddr, 2)).toEqual({ nrPages: 2, zeroPage: true });
    expect(space.privateRun(vaddr + 3 * PAGE, 3)).toEqual({ nrPages: 1, zeroPage: false });
  });

  it('counts what mlock(2) has locked', () => {
    const before = space.mlockedPages();
    mlock(vaddr, 2 * PAGE);
    expect(space.mlockedPages() - before).toBe(2);
  });
});

describe('looking mappings up by text, as before Linux 6.11', () => {
  const PAGE = 4096;
  let byText: AddressSpace;
  beforeEach(() => {
    byText = new AddressSpace(process.pid, { procmapQuery: false });
  });
  afterEach(() => byText.close());

  /** Pages that are a mapping each, more than a piece of the text holds. */
  function manyMappings(count: number): number {
    const vaddr = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (let at = 0; at < count; at += 2) mprotect(vaddr + at * PAGE, PAGE, PROT_READ);
    return vaddr;
  }

  it('finds each mapping, holes, and the first and last page of one', () => {
    const vaddr = manyMappings(3001);
    munmap(vaddr + 1500 * PAGE, PAGE);
    const at = [0, 1, 2, 1499, 1500, 1501, 2999, 3000].map((page) => byText.vmaAt(vaddr + page * PAGE + PAGE - 1));
    expect(at.map((vma) => vma && [(vma.start - vaddr) / PAGE, (vma.end - vma.start) / PAGE, vma.writable])).toEqual([
      [0, 1, false],
      [1, 1, true],
      [2, 1, false],
      [1499, 1, true],
      undefined,
      [1501, 1, true],
      [2999, 1, true],
      [3000, 1, false],
    ]);
    munmap(vaddr, 3001 * PAGE);
    expect(byText.vmaAt(vaddr)).toBeUndefined();
  });

  it('says the same as the query, where there is one', () => {
    const fd = createMemory('object', 8 * PAGE);
    const shared = mmap(0, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    const byQuery = new AddressSpace(process.pid);
    const stack = byText.vmaAt(shared + 3 * PAGE);
    expect(stack).toEqual(byQuery.vmaAt(shared + 3 * PAGE));
    expect(stack).toMatchObject({
      start: shared,
      end: shared + 4 * PAGE,
      offset: 2 * PAGE,
      shared: true,
      readable: true,
    });
    munmap(shared, 4 * PAGE);
    closeSync(fd);
    byQuery.close();
  });

  it('in one call all answers are of one moment, in the next of another', () => {
    const vaddr = manyMappings(3);
    byText.remember(true);
    expect(byText.vmaAt(vaddr)?.end).toBe(vaddr + PAGE);
    munmap(vaddr, PAGE);
    expect(byText.vmaAt(vaddr)?.end).toBe(vaddr + PAGE);
    byText.remember(false);
    expect(byText.vmaAt(vaddr)).toBeUndefined();
    expect(byText.vmaAt(vaddr + PAGE)?.end).toBe(vaddr + 2 * PAGE);
    munmap(vaddr, 3 * PAGE);
  });

  it('puts a line together that two pieces of the text have', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'livevmm-')), 'maps');
    const line = (page: number): string =>
      `${(page * PAGE).toString(16)}-${((page + 1) * PAGE).toString(16)} rw-p 00000000 00:00 0 \n`;
    writeFileSync(path, Array.from({ length: 5000 }, (_, i) => line(i + 1)).join(''));
    const fd = openSync(path, 'r');
    const text = new MapsText(fd);
    const missing = Array.from({ length: 5000 }, (_, i) => i + 1).filter((page) => !text.find(page * PAGE));
    expect(missing).toEqual([]);
    expect([text.find(0), text.find(5001 * PAGE)]).toEqual([undefined, undefined]);
    closeSync(fd);
    rmSync(join(path, '..'), { recursive: true });
  });

  it('reads the text once for thousands of look-ups in one call', () => {
    const count = 20_001;
    const vaddr = manyMappings(count);
    byText.remember(true);
    const before = performance.now();
    for (let page = 0; page < count; page++) expect(byText.vmaAt(vaddr + page * PAGE) === undefined).toBe(false);
    expect(performance.now() - before).toBeLessThan(20_000); // each reading it anew: minutes
    byText.remember(false);
    munmap(vaddr, count * PAGE);
  });

  it('of a process that has gone is ESRCH, and after an exec too', async () => {
    const { child, at } = await VmChild.start();
    const space = new AddressSpace(child.pid, { procmapQuery: false });
    expect(space.vmaAt(at.private)).toMatchObject({ inode: 0, writable: true });
    await child.tell('exec');
    while (space.alive()) await new Promise((resolve) => setImmediate(resolve));
    expect(() => space.vmaAt(at.private)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    space.close();
    await child.kill();
  });
});

describe('AddressSpace of another process', () => {
  let child: VmChild;
  let at: Mappings;
  let space: AddressSpace;
  beforeEach(async () => {
    ({ child, at } = await VmChild.start());
    space = new AddressSpace(child.pid);
  });
  afterEach(async () => {
    space.close();
    await child.kill();
  });

  it('says which object lies behind a vaddr, from which offset, with which rights', () => {
    const file = statSync(`/proc/${child.pid}/fd/${at.memfd}`);

    expect(space.vmaAt(at.shared + 4096)).toMatchObject({
      start: at.shared,
      end: at.shared + 4 * 4096,
      offset: 2 * 4096,
      inode: file.ino,
      shared: true,
      readable: true,
      writable: true,
    });
    expect(space.vmaAt(at.private)).toMatchObject({ inode: 0, shared: false, writable: true });
    expect(space.vmaAt(at.readOnly)).toMatchObject({ inode: file.ino, offset: 0, writable: false });
  });

  it('finds nothing where nothing is mapped', () => {
    expect(space.vmaAt(0x1000)).toBeUndefined();
    expect(space.read(0x1000, new Uint8Array(4))).toBe(0);
    expect(space.write(0x1000, new Uint8Array(4))).toBe(0);
  });

  it('reads and writes its bytes', async () => {
    const bytes = new Uint8Array(8);
    await child.tell('poke');

    expect(space.read(at.private, bytes)).toBe(8);
    expect([...bytes]).toEqual([0x5a, 0x5a, 0x5a, 0x5a, 0x22, 0x22, 0x22, 0x22]);
    expect(space.write(at.shared + 1, Uint8Array.of(1, 2))).toBe(2);
    space.read(at.shared, bytes);
    expect([...bytes.subarray(0, 4)]).toEqual([0x5a, 1, 2, 0x5a]);
  });

  it('opens the object behind a mapping', () => {
    const fd = runWhole(space.openObject(space.vmaAt(at.shared)!))!;
    const bytes = new Uint8Array(4);

    readSync(fd, bytes, 0, 4, 2 * 4096);

    expect([...bytes]).toEqual([0x11, 0x11, 0x11, 0x11]);
    expect(fstatSync(fd).size).toBe(8 * 4096);
    closeSync(fd);
  });

  it('is dead after an execve, though the process lives on; the new image is never seen through it', async () => {
    expect(space.alive()).toBe(true);
    await child.tell('exec');
    // the answer comes just before execve
    while (space.alive()) await new Promise((resolve) => setImmediate(resolve));

    expect(space.read(at.private, new Uint8Array(4))).toBe(0);
    expect(space.write(at.private, new Uint8Array(4))).toBe(0);
    const next = new AddressSpace(child.pid);
    expect(next.alive()).toBe(true);
    next.close();
  });

  it('is dead after the process is killed, and cannot be opened again', async () => {
    await child.kill();

    expect(space.alive()).toBe(false);
    expect(space.read(at.private, new Uint8Array(4))).toBe(0);
    expect(() => new AddressSpace(child.pid)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });
});

describe('parseMapsLine', () => {
  it.each([
    {
      line: '7f5988fb0000-7f5990fb0000 rw-s 00010000 00:01 1030                       /memfd:guest-ram (deleted)',
      vma: {
        start: 0x7f5988fb0000,
        end: 0x7f5990fb0000,
        readable: true,
        writable: true,
        shared: true,
        offset: 0x10000,
        major: 0,
        minor: 1,
        inode: 1030,
      },
    },
    {
      line: '55d0c0a00000-55d0c0a21000 r--p 00000000 fd:11 0 ',
      vma: {
        start: 0x55d0c0a00000,
        end: 0x55d0c0a21000,
        readable: true,
        writable: false,
        shared: false,
        offset: 0,
        major: 0xfd,
        minor: 0x11,
        inode: 0,
      },
    },
  ])('reads $line', ({ line, vma }) => {
    expect(parseMapsLine(line)).toEqual(vma);
  });

  it('gives undefined for an empty line', () => {
    expect(parseMapsLine('')).toBeUndefined();
  });
});

describe('facts about a process', () => {
  it('socketInode names the socket behind a fd, and nothing for other fds', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'livevmm-'));
    const server = createServer().listen(join(folder, 's'));
    const client = connect(join(folder, 's'));
    await new Promise((resolve) => client.once('connect', resolve));
    const fd = handleFd(client)!;

    expect(socketInode(process.pid, fd)).toBe(fstatSync(fd).ino);
    expect(socketInode(process.pid, 9999)).toBeUndefined();

    client.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  });

  it('hasIpcLock tells whether memory may be locked without limit', () => {
    expect(typeof hasIpcLock(process.pid)).toBe('boolean');
  });

  it('threadOf finds a thread of this process under its own number, and no other', () => {
    expect([threadOf(process.pid, gettid()), threadOf(process.pid, 1), threadOf(2 ** 22, 1)]).toEqual([
      gettid(),
      undefined,
      undefined,
    ]);
  });

  it.skipIf(whyNoNamespaces() !== undefined)('threadOf finds the threads of a process in a PID namespace', async () => {
    const words = [...UNSHARE, process.execPath, '-e', 'console.log(1); setInterval(() => {}, 1000)'];
    const launcher = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(launcher.stdout!, 'data');
    const pid = Number(readFileSync(`/proc/${launcher.pid}/task/${launcher.pid}/children`, 'utf8'));

    const tids = readdirSync(`/proc/${pid}/task`).map(Number);
    const inner = tids.map((tid) =>
      Number(/^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8'))![1]),
    );

    expect(inner).toContain(1); // its leader
    expect(inner.length).toBeGreaterThan(1);
    expect(inner.map((tid) => threadOf(pid, tid))).toEqual(tids);
    expect(threadOf(pid, pid)).toBeUndefined();
    expect(hasIpcLock(pid)).toBe(false); // root there, and nobody here
    launcher.kill('SIGKILL');
    await once(launcher, 'exit');
  });
});
