import { mkdirSync, mkdtempSync, readFileSync, readSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { close, O_PATH, O_RDWR, open } from '../../../platform/libc/fd.ts';
import { viewOf } from '../../../platform/struct.ts';
import { access, openInTree, ourPath, readlink, stat, type Tree } from '../../../tools/with/supervisor/path-calls.ts';
import { RomFiles } from '../../../tools/with/supervisor/rom-files.ts';
import type { GivenFd } from '../../../tools/with/supervisor/steps.ts';
import { BASE, callOf, FakeMemory } from './fake-call.ts';

const AT_FDCWD = -100;
const DEVICE = '/sys/bus/pci/devices/0000:00:02.0';
const ROM_DEVICE = '/sys/devices/pci0000:00/0000:00:03.0';
const ROM = '/sys/bus/pci/devices/rom/rom';
let tree: Tree;

beforeAll(() => {
  const path = mkdtempSync(join(tmpdir(), 'tree-'));
  mkdirSync(`${path}/dev/vfio`, { recursive: true });
  writeFileSync(`${path}/dev/vfio/vfio`, '');
  mkdirSync(`${path}${DEVICE}`, { recursive: true });
  writeFileSync(`${path}${DEVICE}/vendor`, '0x1234\n');
  mkdirSync(`${path}${ROM_DEVICE}`, { recursive: true });
  writeFileSync(`${path}${ROM_DEVICE}/rom`, '');
  symlinkSync(ROM_DEVICE, `${path}/sys/bus/pci/devices/rom`);
  symlinkSync('/sys/bus/pci/drivers', `${path}${DEVICE}/driver`);
  symlinkSync('../../../../../../../../../../../etc/hostname', `${path}${DEVICE}/outside`);
  tree = { path, fd: open(path, O_PATH), roms: new RomFiles((bdf) => Buffer.from(`ROM of ${bdf}`), true) };
});
afterAll(() => {
  close(tree.fd);
  rmSync(tree.path, { recursive: true });
});

/** What a path of the caller means, relative to a folder. */
function meant(path: string, dirfd = AT_FDCWD): string | undefined {
  const memory = new FakeMemory(8192);
  memory.setString(BASE, path);
  return ourPath(tree, callOf(memory), dirfd, BASE);
}

describe('a path', () => {
  it.each([
    ['/dev/vfio/vfio', '/dev/vfio/vfio'],
    ['/dev//vfio/./0', '/dev/vfio/0'],
    ['/dev/vfio/', '/dev/vfio'],
    ['/dev/iommu', '/dev/iommu'],
    ['/dev/../dev/vfio/0', '/dev/vfio/0'],
    [`${DEVICE}/vendor`, `${DEVICE}/vendor`],
  ])('%s is ours', (path, ours) => expect(meant(path)).toBe(ours));

  it.each(['/dev/null', '/dev/vfio/../null', '/sys/bus/pci_express', '/sys/bus/usb', '/etc/passwd', 'README.md', ''])(
    "'%s' is not ours",
    (path) => expect(meant(path)).toBeUndefined(),
  );

  it('is relative to a folder of ours, or of the system', () => {
    const folder = open(`${tree.path}${DEVICE}`, O_PATH);
    const dev = open('/dev', O_PATH);
    expect(meant('vendor', folder)).toBe(`${DEVICE}/vendor`);
    expect(meant('vfio/0', dev)).toBe('/dev/vfio/0');
    expect(meant('null', dev)).toBeUndefined();
    close(folder);
    close(dev);
  });

  it('that cannot be read, or is too long, is left to Linux', () => {
    expect(ourPath(tree, callOf(new FakeMemory(16)), AT_FDCWD, 0n)).toBeUndefined();
    expect(meant(`/dev/vfio/${'x'.repeat(4096)}`)).toBeUndefined();
  });
});

describe('a file of the tree', () => {
  const opened = (path: string, flags = 0): number => (openInTree(tree, path, flags) as GivenFd).fd;

  it('can be read', () => {
    const fd = opened(`${DEVICE}/vendor`);
    expect(readFileSync(fd, 'latin1')).toBe('0x1234\n');
    close(fd);
  });

  it.each([
    ['EACCES', `${DEVICE}/vendor`, 1],
    ['EACCES', `${DEVICE}/new`, 0o100],
    ['ENOENT', '/dev/iommu', 2],
    ['ENOENT', '/dev/vfio/devices/vfio0', 2],
    ['ENOENT', `${DEVICE}/nothing`, 0],
    ['ENOENT', `${DEVICE}/outside`, 0],
  ])('is %s: %s with flags %i', (code, path, flags) => {
    expect(() => opened(path, flags)).toThrow(expect.objectContaining({ code }));
  });

  it('tells where a link leads, cut to the buffer', () => {
    const memory = new FakeMemory(64);
    expect(readlink(tree, callOf(memory), `${DEVICE}/driver`, { vaddr: BASE, size: 8 })).toBe(8);
    expect(Buffer.from(memory.bytes.subarray(0, 9)).toString()).toBe('/sys/bus\0');
  });

  it('is EINVAL for readlink(2) where it is no link: realpath(3) counts on that', () => {
    const target = { vaddr: BASE, size: 64 };
    const of = (path: string) => () => readlink(tree, callOf(new FakeMemory(64)), path, target);
    expect(of('/sys/bus/pci')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(of(`${DEVICE}/vendor`)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(of(`${DEVICE}/nothing`)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  it('is a device, where it stands for one', () => {
    const memory = new FakeMemory(256);
    stat(tree, callOf(memory), '/dev/vfio/vfio', { vaddr: BASE, flags: 0 });
    const at = { x64: { mode: 24, rdev: 40 }, arm64: { mode: 16, rdev: 32 } }[process.arch as 'x64'];
    expect(viewOf(memory.bytes).getUint32(at.mode, true)).toBe(0o20600);
    expect(viewOf(memory.bytes).getUint32(at.rdev, true)).toBe((10 << 8) | 196);
  });

  it('can be written by access(2) only as a node', () => {
    expect(access(tree, '/dev/vfio/vfio', 6)).toBe(0);
    expect(access(tree, `${DEVICE}/vendor`, 4)).toBe(0);
    expect(() => access(tree, `${DEVICE}/vendor`, 2)).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(() => access(tree, '/dev/vfio/7', 4)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});

describe('the ROM of a function', () => {
  it('is read by root, also after what turns it on and off', () => {
    const fd = (openInTree(tree, ROM, O_RDWR) as GivenFd).fd;
    const images = Buffer.alloc(64);
    writeSync(fd, '1');
    const length = readSync(fd, images, 0, 19, 0);
    close(fd);
    expect(images.toString('latin1', 0, length)).toBe('ROM of 0000:00:03.0');
    expect(access(tree, ROM, 6)).toBe(0);
    expect(() => access(tree, ROM, 1)).toThrow(expect.objectContaining({ code: 'EACCES' }));
  });

  it('is EACCES for anybody else, who only sees that it is there', () => {
    const plain = { ...tree, roms: new RomFiles(() => expect.unreachable(), false) };
    for (const use of [() => openInTree(plain, ROM, 0), () => access(plain, ROM, 4)]) {
      expect(use).toThrow(expect.objectContaining({ code: 'EACCES' }));
    }
    expect(access(plain, ROM, 0)).toBe(0);
  });
});
