import { fstatSync, readFileSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MemoryMap } from '../../../devices/board/memory-map.ts';
import { createPortCounters } from '../../../iommu/bus/counters.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { close, dup } from '../../../platform/libc/fd.ts';
import { fileSize, ftruncate, pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import {
  addSeals,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  getSeals,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  memfdCreate,
} from '../../../platform/libc/memfd.ts';
import { createMemory, Mapping } from '../../../platform/memory.ts';

const GIB = 2 ** 30;

describe('memory map of the board', () => {
  let detaches = 0;
  let map: MemoryMap;
  let port: MessagePort;
  let fd: number;

  beforeEach(() => {
    detaches = 0;
    map = new MemoryMap(() => {
      detaches++;
    });
    ({ port } = map.subscribe());
    fd = createMemory('object', 65536);
  });
  afterEach(() => {
    map.close();
    port.close();
    close(fd);
  });

  const received = () => receiveMessageOnPort(port)?.message;

  it('gives objects ranges at multiples of 1 GiB that do not overlap', () => {
    const starts = [map.attachObject(dup(fd), 65536), map.attachObject(dup(fd), 65536)];

    expect(starts.map((start) => start % GIB)).toEqual([0, 0]);
    expect(new Set(starts).size).toBe(2);
  });

  it('gives BARs the same memory if they call it by the same name and have the same size', () => {
    const frames = map.sharedMemory('frames', 8192);

    expect(map.sharedMemory('frames', 8192)).toBe(frames);
    expect(map.sharedMemory('others', 8192)).not.toBe(frames);
    expect(() => map.sharedMemory('frames', 4096)).toThrow(/frames: one device has 8192 bytes/);
  });

  it('shows the bytes of the object itself, and knows which one it is', () => {
    const mapping = new Mapping(fd, 65536);

    map.attachObject(dup(fd), 65536);
    new Uint8Array(mapping.buffer)[5] = 42;

    const [{ range, id }] = map.objects() as [ReturnType<MemoryMap['objects']>[number]];
    expect(new Uint8Array(range.buffer)[5]).toBe(42);
    expect(id).toEqual({ dev: fstatSync(fd).dev, ino: fstatSync(fd).ino });
  });

  it('seals an object against shrinking before it maps it, and lets it grow', () => {
    map.attachObject(dup(fd), 65536);

    expect(getSeals(fd) & F_SEAL_SHRINK).toBe(F_SEAL_SHRINK);
    expect(() => ftruncate(fd, 4096)).toThrow('EPERM');
    ftruncate(fd, 131072);
    expect(fileSize(fd)).toBe(131072);
  });

  describe('an object that is not mapped for all to touch', () => {
    /** A memfd of two pages with these seals; 0: it was made without sealing. */
    function odd(seals: number): number {
      const made = memfdCreate('odd', seals === 0 ? MFD_CLOEXEC : MFD_CLOEXEC | MFD_ALLOW_SEALING);
      ftruncate(made, 8192);
      pwrite(made, Uint8Array.of(1, 2, 3, 4), 4094);
      if (seals !== 0) addSeals(made, seals);
      return made;
    }
    const portTo = (start: number): { readonly port: DmaPort; readonly vpn: number } => {
      const physical = new PhysicalMemory(map.ranges());
      const port = new DmaPort({ agent: 0, did: 0, physical, wire: () => {}, counters: createPortCounters() });
      return { port, vpn: start / 4096 };
    };

    it('because it cannot be sealed: DMA reads and writes it like any other', () => {
      const object = odd(0);
      const { port, vpn } = portTo(map.attachObject(dup(object), 8192));
      const read = new Uint8Array(6);

      const written = port.write(vpn, 4095, Uint8Array.of(9, 8));
      const stored = port.write32(vpn, 0, 0x04030201);
      const got = port.read(vpn, 4093, read);

      const bytes = new Uint8Array(4);
      pread(object, bytes, 0);
      expect([written, stored, got]).toEqual([2, true, 6]);
      expect([...read]).toEqual([0, 1, 9, 8, 4, 0]);
      expect([...bytes]).toEqual([1, 2, 3, 4]);
      close(object);
    });

    it('and is cut off: what is gone reads 0 and takes no byte, the object is never made longer, and nothing is refused', () => {
      const object = odd(0);
      const { port, vpn } = portTo(map.attachObject(dup(object), 8192));
      ftruncate(object, 4096);
      const read = new Uint8Array(4).fill(5);

      const moved = [port.write(vpn, 4094, new Uint8Array(6).fill(9)), port.write(vpn + 1, 100, Uint8Array.of(9))];
      const got = port.read(vpn, 4094, read);

      expect([...moved, got]).toEqual([6, 1, 4]);
      expect([...read]).toEqual([9, 9, 0, 0]);
      expect(fileSize(object)).toBe(4096);
      ftruncate(object, 0);
      port.write(vpn, 0, new Uint8Array(8192));
      expect(fileSize(object)).toBe(0);
      close(object);
    });

    it.each([0, 2 ** 31, 2 ** 32, 5 * GIB])('because it has more than 4 GiB: DMA reaches its offset %i', (offset) => {
      const object = createMemory('large', 5 * GIB + 8192);
      const { port, vpn } = portTo(map.attachObject(dup(object), 5 * GIB + 8192));
      const page = vpn + offset / 4096;
      const bytes = new Uint8Array(2);
      const read = new Uint8Array(2);

      expect([port.write(page, 4095, Uint8Array.of(9, 8)), port.read(page, 4095, read)]).toEqual([2, 2]);

      pread(object, bytes, offset + 4095);
      expect([...bytes, ...read]).toEqual([9, 8, 9, 8]);
      expect(received()).toMatchObject({ attach: { kind: 'process' } });
      close(object);
    });

    it('is none of 4 GiB', () => {
      map.attachObject(createMemory('largest', 4 * GIB), 4 * GIB);
      expect(received()).toMatchObject({ attach: { kind: 'ram', size: 4 * GIB } });
    });

    it.each([F_SEAL_WRITE, F_SEAL_FUTURE_WRITE])('because it is sealed against writing, %i: it can be read', (seal) => {
      const { port, vpn } = portTo(map.attachObject(odd(seal), 8192));
      const read = new Uint8Array(4);
      port.read(vpn, 4094, read);
      expect([...read]).toEqual([1, 2, 3, 4]);
    });

    it('has its mapping for as long as its range', () => {
      const plain = memfdCreate('plain', MFD_CLOEXEC);
      ftruncate(plain, 8192);
      const inode = fstatSync(plain).ino;
      const lines = (): number => readFileSync('/proc/self/maps', 'latin1').split(` ${inode} `).length - 1;
      const start = map.attachObject(plain, 8192);
      expect(lines()).toBe(1);
      map.detach(start);
      expect(lines()).toBe(0);
    });
  });

  it('has posted a change to every port before it returns', () => {
    const start = map.attachObject(dup(fd), 65536);
    const attached = received();
    map.detach(start);

    expect(attached).toMatchObject({ attach: { kind: 'ram', start, size: 65536 } });
    expect(received()).toEqual({ detach: start });
    expect(detaches).toBe(1);
  });

  it('a late subscriber gets what is there', () => {
    const start = map.attachObject(dup(fd), 65536);

    const late = map.subscribe();
    late.port.close();

    expect(late.ranges.map((range) => range.start)).toEqual([start]);
  });

  it('takes the fd, also when it refuses', () => {
    const taken = dup(fd);

    expect(() => map.attachObject(taken, 131072)).toThrow(/shorter/);
    expect(() => fstatSync(taken)).toThrow('EBADF');
    expect(received()).toBeUndefined();
  });

  it('an object that ends inside a page has all of that page', () => {
    const odd = createMemory('odd', 5000);

    const start = map.attachObject(odd, 5000);

    expect(map.ranges()).toMatchObject([{ start, size: 8192 }]);
    expect(received()).toMatchObject({ attach: { size: 8192 } });
  });

  it('a detached object is let go: who still has its bytes sees a private copy of nothing', () => {
    const start = map.attachObject(dup(fd), 65536);
    const { buffer } = map.objects()[0]!.range;
    const mapping = new Mapping(fd, 65536);

    map.detach(start);
    new Uint8Array(buffer)[0] = 9;

    expect(new Uint8Array(mapping.buffer)[0]).toBe(0);
  });

  it('uses an address again as late as possible', () => {
    const first = map.attachObject(dup(fd), 65536);
    map.detach(first);

    expect(map.attachObject(dup(fd), 65536)).not.toBe(first);
  });

  it('finds room between others, whatever came and went before', () => {
    const live = new Map<number, number>();
    const sizes = [1, 3 * GIB, 64 * GIB, GIB + 1, 2 * GIB];
    for (let i = 0; i < 1500; i++) {
      const size = sizes[(i * 7) % sizes.length]!;
      live.set(map.attachProcess(dup(fd), 0, size), size);
      if (i % 3 === 0) continue;
      const victim = [...live.keys()][(i * 31) % live.size]!;
      map.detach(victim);
      live.delete(victim);
    }
    const starts = [...live.keys()].sort((a, b) => a - b);

    expect(starts.every((start) => start % GIB === 0)).toBe(true);
    expect(starts.slice(1).every((start, i) => starts[i]! + live.get(starts[i]!)! <= start)).toBe(true);
    expect(
      map
        .ranges()
        .map(({ start }) => start)
        .sort((a, b) => a - b),
    ).toEqual(starts);
  });

  it('ENOENT for a range that is not there, EINVAL for one of no bytes', () => {
    expect(() => map.detach(GIB)).toThrow('no range at pa 0x40000000');
    expect(() => map.attachObject(dup(fd), 0)).toThrow('a range of 0 bytes');
  });

  it('memory of a process is closed with its range', () => {
    const memFd = dup(fd);
    const start = map.attachProcess(memFd, 0x1000, 8192);

    map.detach(start);

    expect(received()).toMatchObject({ attach: { kind: 'process', start, size: 8192, memFd, vaddr: 0x1000 } });
    expect(() => fstatSync(memFd)).toThrow('EBADF');
  });
});
