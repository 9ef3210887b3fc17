import { spawn, spawnSync } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ordinaryDevices } from '../../platform/file-systems.ts';
import { close, O_PATH, open } from '../../platform/libc/fd.ts';
import { MAP_SHARED, mmap, munmap, PROT_READ, PROT_WRITE } from '../../platform/libc/mmap.ts';
import { createMemory } from '../../platform/memory.ts';
import { AddressSpace } from '../../platform/process.ts';
import { runWhole } from '../../platform/slices.ts';

const PAGE = 4096;
const RW = PROT_READ | PROT_WRITE;
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
const SIGURG = 23; // ignored by default
const fcntl = koffi.load('libc.so.6').func('int fcntl(int fd, int cmd, int arg)');
const isRoot = process.getuid!() === 0;

let folder: string;
let fds: number[];
let mappings: number[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-'));
  fds = [];
  mappings = [];
});
afterEach(() => {
  for (const vaddr of mappings) munmap(vaddr, PAGE);
  for (const fd of fds) closeSync(fd);
  rmSync(folder, { recursive: true });
});

function keep(fd: number): number {
  fds.push(fd);
  return fd;
}

function map(fd: number): number {
  const vaddr = mmap(0, PAGE, RW, MAP_SHARED, fd, 0);
  mappings.push(vaddr);
  return vaddr;
}

function file(): number {
  const path = join(folder, 'memory');
  writeFileSync(path, new Uint8Array(PAGE));
  return keep(openSync(path, 'r+'));
}

/** The inode found at vaddr by a process that may use the fds only. */
function find(vaddr: number, space = new AddressSpace(process.pid, { mapFiles: false })): number | undefined {
  const fd = runWhole(space.openObject(space.vmaAt(vaddr)!));
  space.close();
  if (fd === undefined) return undefined;
  const { ino } = fstatSync(fd);
  close(fd);
  return ino;
}

describe('the object behind a mapping', () => {
  it('is found among the fds, by whoever may not use map_files', () => {
    const fd = keep(createMemory('object', PAGE));
    expect(find(map(fd))).toBe(fstatSync(fd).ino);
  });

  it.runIf(isRoot)('is found without any fd, by whoever may', () => {
    const fd = createMemory('object', PAGE);
    const { ino } = fstatSync(fd);
    const vaddr = map(fd);
    closeSync(fd);
    expect(find(vaddr, new AddressSpace(process.pid))).toBe(ino);
    expect(() => find(vaddr)).toThrow(expect.objectContaining({ code: 'EACCES' }));
  });

  it('under a write lease is not waited for', () => {
    const fd = file();
    const vaddr = map(fd);
    expect(fcntl(fd, F_SETSIG, SIGURG)).toBe(0);
    expect(fcntl(fd, F_SETLEASE, F_WRLCK)).toBe(0);
    const before = performance.now();
    expect(find(vaddr)).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(20_000); // lease-break-time is 45 s
    fcntl(fd, F_SETLEASE, F_UNLCK);
    expect(find(vaddr)).toBe(fstatSync(fd).ino);
  });

  it('is found behind FIFOs, which nothing opens', () => {
    const path = join(folder, 'fifo');
    spawnSync('mkfifo', [path]);
    keep(open(path)); // for both ends: does not wait for the other
    const fd = keep(createMemory('object', PAGE));
    expect(find(map(fd))).toBe(fstatSync(fd).ino);
  });

  it.runIf(isRoot)(
    'is found past files of a FUSE whose server is dead',
    async () => {
      const at = join(folder, 'fuse');
      mkdirSync(at);
      const server = openSync('/dev/fuse', 'r+');
      const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
      const mount = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'dead', at], {
        stdio: ['ignore', 'pipe', 'pipe', server],
      });
      expect(String(mount.stderr)).toBe('');
      try {
        keep(open(at, O_PATH));
        const fd = keep(createMemory('object', PAGE));
        const script = fileURLToPath(new URL('./find-object.ts', import.meta.url));
        const child = spawn(process.execPath, ['--import', 'tsx', script, `${process.pid}`, `${map(fd)}`]);
        let said = '';
        child.stdout.on('data', (text) => {
          said += text;
        });
        const killer = setTimeout(() => child.kill('SIGKILL'), 30_000);
        await new Promise((resolve) => child.once('close', resolve));
        clearTimeout(killer);
        expect(said.trim()).toBe(`${fstatSync(fd).ino}`);
      } finally {
        for (const held of fds.splice(0)) closeSync(held);
        closeSync(server);
        spawnSync('umount', ['-l', at]);
      }
    },
    60_000,
  );

  it('is looked for a few fds at a time', () => {
    const vaddr = map(keep(createMemory('object', PAGE)));
    const space = new AddressSpace(process.pid, { mapFiles: false });
    const vma = { ...space.vmaAt(vaddr)!, inode: 1 }; // of none: all are looked at
    for (let i = 0; i < 500; i++) keep(openSync('/dev/null', 'r'));
    const search = space.openObject(vma);
    let pauses = 0;
    expect(() => {
      while (!search.next().done) pauses++;
    }).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(pauses).toBeGreaterThan(500 / 20);
    space.close();
  });
});

describe('file systems whose pages need nobody else', () => {
  const MOUNTINFO = `
21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:25 / /home/u/mnt rw,nosuid - fuse.sshfs host: rw
23 21 0:26 / /net rw shared:3 master:1 - nfs4 server:/x rw
24 21 0:27 / /dev/shm rw shared:4 - tmpfs tmpfs rw
25 21 0:28 / / rw - overlay overlay rw,lowerdir=/l
26 21 0:6 / /dev rw - devtmpfs devtmpfs rw
27 21 8:1 / /mnt/a\\040-\\040b rw - fuseblk /dev/sda1 rw`;

  it('are known by their type; a stacked one is trusted only where the host itself has it mounted', () => {
    expect(Object.fromEntries(ordinaryDevices(MOUNTINFO, { trusted: true }))).toEqual({
      '254:0': 'disk',
      '0:27': 'memory',
      '0:28': 'disk',
    });
    expect([...ordinaryDevices(MOUNTINFO, { trusted: false }).keys()]).toEqual(['254:0', '0:27']);
  });

  it('memfds and disk files are, devices are not', () => {
    const space = new AddressSpace(process.pid);
    const vmas = [keep(createMemory('object', PAGE)), file()].map((fd) => space.vmaAt(map(fd))!);
    expect(vmas.map((vma) => space.mayBlock(vma))).toEqual([false, false]);
    expect(space.mayBlock({ ...vmas[0]!, major: 0, minor: 4_000_000 })).toBe(true);
    expect(space.mayBlock({ ...vmas[0]!, inode: 0, major: 0, minor: 0 })).toBe(false);
    space.close();
  });
});
