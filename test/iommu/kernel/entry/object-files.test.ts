/** Open files that are memory objects: known by their fds, and closed with the last of them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { OpenFile } from '../../../../iommu/kernel/core/open-file.ts';
import { ObjectFiles } from '../../../../iommu/kernel/entry/object-files.ts';
import { close, dup } from '../../../../platform/libc/fd.ts';
import { MAP_SHARED, mmap, munmap, PROT_READ } from '../../../../platform/libc/mmap.ts';
import { createMemory } from '../../../../platform/memory.ts';

const SIZE = 4096;

describe('open files that are objects', () => {
  let objects: readonly [number, number];
  let files: ObjectFiles;
  let onClose: ReturnType<typeof vi.fn<() => void>>;
  const file = () => new OpenFile({ name: 'a device', ioctl: () => 0, release: () => undefined });
  const opened = () => ({ file: file(), pid: process.pid });

  beforeEach(() => {
    objects = [createMemory('one', SIZE), createMemory('other', SIZE)];
    onClose = vi.fn();
    files = new ObjectFiles(onClose);
  });
  afterEach(async () => {
    files.takeAll();
    await files.close();
    for (const object of objects) close(object);
  });

  it('are found by any fd of theirs, and no other', () => {
    const first = opened();
    const fd = files.give(first, objects[0]);
    const copy = dup(fd);
    expect([fd, copy, objects[1], 9999].map((one) => files.find(process.pid, one))).toEqual([
      first.file,
      first.file,
      undefined,
      undefined,
    ]);
    close(fd);
    close(copy);
  });

  it('are gone with the last fd or mapping, at once', () => {
    const first = opened();
    const fd = files.give(first, objects[0]);
    const copy = dup(fd);
    close(fd);
    const vaddr = mmap(0, SIZE, PROT_READ, MAP_SHARED, copy, 0);
    expect(files.gone()).toEqual([]);
    close(copy);
    expect(files.gone()).toEqual([]);
    munmap(vaddr, SIZE);
    expect(files.gone()).toEqual([first]);
    expect(files.gone()).toEqual([]);
  });

  it('of one object go together, and leave those of another', () => {
    const [first, second, other] = [opened(), opened(), opened()];
    const fds = [files.give(first, objects[0]), files.give(second, objects[0]), files.give(other, objects[1])] as const;
    close(fds[0]);
    expect(files.gone()).toEqual([]);
    expect(files.list()).toHaveLength(3);
    close(fds[1]);
    expect(files.gone()).toEqual([first, second]);
    expect(files.list()).toEqual([other]);
    close(fds[2]);
  });

  it('can be opened again after the end', () => {
    close(files.give(opened(), objects[0]));
    files.gone();
    const again = opened();
    const fd = files.give(again, objects[0]);
    expect(files.gone()).toEqual([]);
    expect(files.find(process.pid, fd)).toBe(again.file);
    close(fd);
    expect(files.gone()).toEqual([again]);
  });

  it('tell their owner of the end, though nobody asks', async () => {
    const gone: unknown[] = [];
    onClose.mockImplementation(() => gone.push(...files.gone()));
    const first = opened();
    close(files.give(first, objects[0]));
    await vi.waitFor(() => expect(gone).toEqual([first]));
  });
});
