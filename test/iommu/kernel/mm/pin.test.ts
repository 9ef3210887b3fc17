import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Mm } from '../../../../iommu/kernel/core/task.ts';
import { BoardShares, type Capacity } from '../../../../iommu/kernel/mm/board-shares.ts';
import { type PinnedRun, Pinner } from '../../../../iommu/kernel/mm/pin.ts';
import type { BoardMemory } from '../../../../iommu/kernel/mm/pin-objects.ts';
import { addSeals, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK } from '../../../../platform/libc/memfd.ts';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  munmap,
  PROT_READ,
  PROT_WRITE,
} from '../../../../platform/libc/mmap.ts';
import { createMemory, objectId } from '../../../../platform/memory.ts';
import { AddressSpace } from '../../../../platform/process.ts';
import { runWhole } from '../../../../platform/slices.ts';
import { FakeMachine, FakeProcess } from '../../../fakes/fake-machine.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const WINDOW = 64 * 2 ** 30;
const EFAULT = expect.objectContaining({ code: 'EFAULT' });

let machine: FakeMachine;
let process: FakeProcess;

beforeEach(() => {
  machine = new FakeMachine();
  process = new FakeProcess(1);
});
afterEach(() => machine.close());

const pin = (vaddr: number, nrPages: number, write = true) =>
  runWhole(machine.pinner.pin(process.mm, vaddr / PAGE, nrPages, write));

describe('memory object', () => {
  it('one look-up and one run for any number of pages', () => {
    const vaddr = process.space.map(machine.object(2 ** 30, { sparse: true }));
    const run = pin(vaddr, 2 ** 18);
    expect(run.nrPages).toBe(2 ** 18);
    expect(process.space.lookups).toBe(1);
    machine.pinner.unpin(run);
  });

  it('the same bytes have the same pfn, wherever they are mapped', () => {
    const object = machine.object(2 * MIB);
    const other = new FakeProcess(2);
    const here = pin(process.space.map(object), 4);
    const there = runWhole(
      machine.pinner.pin(other.mm, other.space.map(object, { offset: PAGE, size: MIB }) / PAGE, 4, true),
    );
    expect(there.pfn).toBe(here.pfn + 1);
    expect(machine.board.attachments).toBe(1);
    machine.pinner.unpin(here);
    machine.pinner.unpin(there);
  });

  it('a run ends with its mapping; the next mapping continues it', () => {
    const object = machine.object(2 * MIB);
    const vaddr = process.space.map(object, { size: MIB });
    process.space.map(object, { offset: MIB, size: MIB }, vaddr + MIB);
    const first = pin(vaddr + PAGE, 400);
    expect(first.nrPages).toBe(255);
    const second = pin(vaddr + PAGE * 256, 145);
    expect(second).toMatchObject({ pfn: first.pfn + 255, nrPages: 145 });
    machine.pinner.unpin(first);
    machine.pinner.unpin(second);
  });

  it('is attached once for many pins, stays a little when unpinned, and goes with trim', () => {
    const vaddr = process.space.map(machine.object(MIB));
    for (let i = 0; i < 10; i++) machine.pinner.unpin(pin(vaddr, 1));
    expect(machine.board.attachments).toBe(1);
    expect(machine.board.attached.size).toBe(1);
    machine.pinner.trim();
    expect(machine.board.attached.size).toBe(0);
  });

  it('of idle objects only the last sixteen stay attached', () => {
    const vaddrs = Array.from({ length: 40 }, () => process.space.map(machine.object(PAGE)));
    for (const vaddr of vaddrs) machine.pinner.unpin(pin(vaddr, 1));
    expect(machine.board.attached.size).toBe(16);
  });

  it('a page beyond the end of the object is EFAULT, those before are pinned', () => {
    const object = machine.object(4 * PAGE);
    const vaddr = process.space.map(object, { size: 8 * PAGE });
    const run = pin(vaddr, 8);
    expect(run.nrPages).toBe(4);
    expect(() => pin(vaddr + 4 * PAGE, 4)).toThrow(EFAULT);
    object.truncate(2 * PAGE);
    expect(() => pin(vaddr + 2 * PAGE, 1)).toThrow(EFAULT);
    machine.pinner.unpin(run);
    expect(machine.pinner.pinnedPages).toBe(0);
  });

  it('that has grown gets another place, and the old one stays while it is pinned', () => {
    const object = machine.object(8 * PAGE);
    object.truncate(4 * PAGE);
    const vaddr = process.space.map(object);
    const before = pin(vaddr, 8);
    object.truncate(8 * PAGE);
    const after = pin(vaddr, 8);
    expect([before.nrPages, after.nrPages]).toEqual([4, 8]);
    expect(machine.board.attached.size).toBe(2);
    machine.pinner.unpin(before);
    expect(machine.board.attached.size).toBe(1);
    machine.pinner.unpin(after);
  });

  it('that is sealed against shrinking and has grown gets another place only for what is new', () => {
    const object = machine.object(8 * PAGE);
    object.truncate(4 * PAGE);
    addSeals(object.fd, F_SEAL_SHRINK);
    const vaddr = process.space.map(object);
    const before = pin(vaddr, 4);
    object.truncate(8 * PAGE);
    const same = pin(vaddr + PAGE, 3);
    expect(same.pfn).toBe(before.pfn + 1);
    expect(machine.board.attached.size).toBe(1);
    const after = pin(vaddr + 3 * PAGE, 5);
    expect([after.nrPages, machine.board.attached.size]).toEqual([5, 2]);
    for (const run of [before, same, after]) machine.pinner.unpin(run);
  });
});

describe('permissions (MAP-13)', () => {
  it.each([
    ['rw', true, true],
    ['r', false, true],
    ['w', true, false],
    ['n', false, false],
  ])('mapping %s: a writing device %s, a reading one %s', (prot, write, read) => {
    const vaddr = process.space.map(machine.object(PAGE), { prot });
    const tries = [true, false].map((forWrite) => {
      try {
        machine.pinner.unpin(pin(vaddr, 1, forWrite));
        return true;
      } catch (error) {
        expect(error).toEqual(EFAULT);
        return false;
      }
    });
    expect(tries).toEqual([write, read]);
  });

  it.each([
    ['nothing is mapped', 0],
    ['above user space', 2 ** 56],
    ['the last page of 64 bits', 2 ** 64 - PAGE],
  ])('EFAULT where %s', (_name, vaddr) => {
    expect(() => pin(vaddr, 1)).toThrow(EFAULT);
  });

  it('EFAULT in an address space that has died', () => {
    const vaddr = process.space.map(machine.object(PAGE));
    process.exit();
    expect(() => pin(vaddr, 1)).toThrow(EFAULT);
  });
});

describe('writing where Linux does not let devices write, or lets them (MAP-17)', () => {
  /** Whether a device that writes and one that only reads get a pin. */
  const allowed = (pinner: Pinner, vaddr: number): readonly boolean[] =>
    [true, false].map((write) => {
      try {
        pinner.unpin(runWhole(pinner.pin(process.mm, vaddr / PAGE, 1, write)));
        return true;
      } catch (error) {
        expect(error).toEqual(EFAULT);
        return false;
      }
    });

  it.each([
    ['EFAULT', [false, true]],
    ['allowed', [true, true]],
  ] as const)('a shared file that is written back, from 6.5 and before: %s', (sharedFileWrites, expected) => {
    const pinner = new Pinner(machine.board, { sharedFileWrites });
    const vaddr = process.space.map(machine.object(PAGE));
    process.space.tracksDirtyPages = ({ shared }) => shared;
    expect(allowed(pinner, vaddr)).toEqual(expected);
    expect(allowed(pinner, machine.anonymous(process.space, PAGE))).toEqual([true, true]);
    pinner.trim();
  });

  it('of the real file systems: a file on disk is, memfds and private mappings are not', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'livevmm-')), 'file');
    writeFileSync(path, new Uint8Array(PAGE));
    const fds = [openSync(path, 'r+'), createMemory('memory', PAGE)] as const;
    rmSync(join(path, '..'), { recursive: true });
    const space = new AddressSpace(globalThis.process.pid);
    const tracks = (fd: number, flags: number): boolean => {
      const vaddr = mmap(0, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
      const answer = space.tracksDirtyPages(space.vmaAt(vaddr)!);
      munmap(vaddr, PAGE);
      return answer;
    };
    const onDisk = !/^(tmpfs|ramfs)/.test(execFileSync('stat', ['-f', '-c', '%T', tmpdir()], { encoding: 'utf8' }));
    expect(fds.map((fd) => tracks(fd, MAP_SHARED))).toEqual([onDisk, false]);
    expect(fds.map((fd) => tracks(fd, MAP_PRIVATE))).toEqual([false, false]);
    space.close();
    for (const fd of fds) closeSync(fd);
  });

  it('an object under F_SEAL_FUTURE_WRITE through a mapping from before: by the mapping, as the seal lets it', () => {
    const object = machine.object(4 * PAGE);
    const vaddr = process.space.map(object);
    addSeals(object.fd, F_SEAL_FUTURE_WRITE);
    const reading = pin(vaddr, 4, false);
    const writing = pin(vaddr + PAGE, 2);
    expect(reading.nrPages).toBe(4);
    expect(writing).toMatchObject({ pfn: writing.backing.startPfn + ((vaddr + PAGE) % WINDOW) / PAGE, nrPages: 2 });
    machine.pinner.unpin(writing);
    machine.pinner.unpin(reading);
    machine.pinner.trim();
    expect(machine.board.attached.size).toBe(0);
    expect(machine.pinner.pinnedPages).toBe(0);
  });

  it('an object that was pinned before the seal stays writable: what is mapped is', () => {
    const object = machine.object(4 * PAGE);
    const vaddr = process.space.map(object);
    const before = pin(vaddr, 4);
    addSeals(object.fd, F_SEAL_FUTURE_WRITE);
    const after = pin(vaddr, 1);
    expect(after.pfn).toBe(before.pfn);
    machine.pinner.unpin(after);
    machine.pinner.unpin(before);
  });
});

describe('a share of the host', () => {
  const ENOMEM = expect.objectContaining({ code: 'ENOMEM' });
  const limited = (capacity: Capacity): void => {
    machine.close();
    machine = new FakeMachine({ shares: new BoardShares(capacity) });
  };
  const pinNew = (owner: FakeProcess): PinnedRun => {
    const vaddr = owner.space.map(machine.object(PAGE));
    return runWhole(machine.pinner.pin(owner.mm, vaddr / PAGE, 1, true));
  };

  it('one client has half of the memory objects, the next one half of the rest; what is let go is there again', () => {
    limited({ objects: 8 });
    const other = new FakeProcess(2);
    other.space.pid = globalThis.process.ppid;
    const runs = [1, 2, 3, 4].map(() => pinNew(process));
    expect(() => pinNew(process)).toThrow(ENOMEM);
    const others = [1, 2].map(() => pinNew(other));
    expect(() => pinNew(other)).toThrow(ENOMEM);
    for (const run of [...runs, ...others]) machine.pinner.unpin(run);
    machine.pinner.trim();
    const again = [1, 2, 3, 4].map(() => pinNew(other));
    for (const run of again) machine.pinner.unpin(run);
  });

  it('of fds, for windows of private memory too', () => {
    limited({ fds: 4 });
    const at = [1, 2, 3].map((n) => n * WINDOW);
    for (const vaddr of at) process.space.map(machine.object(PAGE), { private: true }, vaddr);
    const runs = at.slice(0, 2).map((vaddr) => pin(vaddr, 1));
    expect(() => pin(at[2]!, 1)).toThrow(ENOMEM);
    expect(() => pinNew(process)).toThrow(ENOMEM);
    for (const run of runs) machine.pinner.unpin(run);
    machine.pinner.unpin(pinNew(process));
  });

  it('of physical addresses: a client in a thousand windows leaves room for others', () => {
    limited({ fds: 4096 }); // more than the windows take, whatever this process may have
    const object = machine.object(PAGE);
    const other = new FakeProcess(2);
    other.space.pid = globalThis.process.ppid;
    const runs: PinnedRun[] = [];
    const inAll = (owner: FakeProcess): void => {
      for (let n = 1; n < 1024; n++) {
        owner.space.map(object, { private: true }, n * WINDOW);
        runs.push(runWhole(machine.pinner.pin(owner.mm, (n * WINDOW) / PAGE, 1, true)));
      }
    };
    expect(() => inAll(process)).toThrow(ENOMEM);
    const first = runs.length;
    expect(() => inAll(other)).toThrow(ENOMEM);
    expect([first, runs.length - first]).toEqual([511, 256]);
    for (const run of runs) machine.pinner.unpin(run);
  });
});

describe('a file that is not opened', () => {
  it('because it may not be, now, is reached through the process', () => {
    const vaddr = process.space.map(machine.object(4 * PAGE));
    // biome-ignore lint/correctness/useYield: it answers at once
    process.space.openObject = function* () {
      return undefined as unknown as number; // under a lease
    };
    const run = pin(vaddr + PAGE, 2);
    expect(run).toMatchObject({
      pfn: run.backing.startPfn + ((vaddr + PAGE) % WINDOW) / PAGE,
      nrPages: 2,
      reserved: false,
    });
    machine.pinner.unpin(run);
    expect(machine.board.attached.size).toBe(0);
  });

  it.each([
    ['shared', false],
    ['private', true],
  ])('because its server may not answer is EFAULT, %s too', (_name, isPrivate) => {
    const vaddr = process.space.map(machine.object(PAGE), { private: isPrivate });
    process.space.mayBlock = () => true;
    expect(() => pin(vaddr, 1)).toThrow(EFAULT);
    expect(machine.board.attachments).toBe(0);
  });
});

describe('private memory', () => {
  it('of a window of the address space has one place for all pins, and none without', () => {
    const vaddrs = [machine.anonymous(process.space, MIB), machine.anonymous(process.space, PAGE)] as const;
    const runs = [pin(vaddrs[0], 256), pin(vaddrs[0] + PAGE, 1), pin(vaddrs[1], 1)];
    expect(runs.map(({ nrPages }) => nrPages)).toEqual([256, 1, 1]);
    expect(runs.map(({ pfn }) => pfn - runs[0]!.pfn)).toEqual([0, 1, (vaddrs[1] - vaddrs[0]) / PAGE]);
    expect(machine.board.attached.size).toBe(1);
    for (const run of runs) machine.pinner.unpin(run);
    expect(machine.board.attached.size).toBe(0);
  });

  it('that goes from one window into the next is two runs', () => {
    const nextWindow = 0x7f10_0000_0000;
    process.space.map(machine.object(4 * PAGE), { private: true }, nextWindow - PAGE);
    const runs = [pin(nextWindow - PAGE, 4), pin(nextWindow, 3)];
    expect(runs.map(({ nrPages }) => nrPages)).toEqual([1, 3]);
    expect(machine.board.attached.size).toBe(2);
    for (const run of runs) machine.pinner.unpin(run);
    expect(machine.board.attached.size).toBe(0);
  });

  it('that died while it was being pinned is EFAULT, and nothing is attached', () => {
    const vaddr = machine.anonymous(process.space, PAGE);
    const { space } = process;
    space.alive = () => false;
    expect(() => pin(vaddr, 1)).toThrow(EFAULT);
    expect(machine.board.attached.size).toBe(0);
  });
});

describe('a real address space', () => {
  it('finds the object and offset behind a vaddr, and private memory as such', () => {
    const calls: unknown[] = [];
    const board: BoardMemory = {
      attachObject: (fd, size, id) => {
        closeSync(fd);
        calls.push(['object', size, id]);
        return 1000;
      },
      attachProcess: (fd, vaddr, size) => {
        closeSync(fd);
        calls.push(['process', vaddr, size]);
        return 2000;
      },
      detach: (pfn) => calls.push(['detach', pfn]),
    };
    const mm = new Mm(new AddressSpace(globalThis.process.pid));
    const pinner = new Pinner(board);
    const fd = createMemory('pin-test', MIB);
    const shared = mmap(0, MIB / 2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 64 * PAGE);
    const secret = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const object = runWhole(pinner.pin(mm, shared / PAGE + 3, 1000, true));
    expect(object).toMatchObject({ pfn: 1000 + 64 + 3, nrPages: 128 - 3 });
    const anonymous = runWhole(pinner.pin(mm, secret / PAGE, 8, true));
    expect(anonymous).toMatchObject({ pfn: 2000 + (secret % WINDOW) / PAGE, nrPages: 8 });
    pinner.unpin(object);
    pinner.unpin(anonymous);
    pinner.trim();
    expect(calls).toEqual([
      ['object', MIB, objectId(fd)],
      ['process', secret - (secret % WINDOW), WINDOW],
      ['detach', 2000],
      ['detach', 1000],
    ]);
    munmap(shared, MIB / 2);
    munmap(secret, 8 * PAGE);
    expect(() => runWhole(pinner.pin(mm, shared / PAGE, 1, false))).toThrow(EFAULT);
    mm.drop();
    closeSync(fd);
  });
});
