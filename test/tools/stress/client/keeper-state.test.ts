import { describe, expect, it } from 'vitest';

import { createMemory, Mapping } from '../../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../../platform/page.ts';
import { NR_GUARDED_PAGES } from '../../../../tools/stress/client/assignment.ts';
import { type KeeperState, KeeperStore } from '../../../../tools/stress/client/keeper-state.ts';

const SIZE = NR_GUARDED_PAGES * PAGE_SIZE;
const HEADER_BYTES = 64;

const state = (kexecs: number): KeeperState => ({
  kexecs,
  withEntries: true,
  random: [1, 2, 3, 4],
  entries: [{ vpn: 4096, nrPages: 3, page: 7, write: true }],
  pending: { call: 'MAP_DMA', entry: { vpn: 5000, nrPages: 1, page: 0, write: false } },
  guard: { versions: [1, 2], writers: [0, 1] },
  ring: { iova: 0x100_0000, frames: 4, frameSize: 512, rate: 100, irqEvery: 1 },
  interrupts: { sentBefore: 12, counted: 3 },
});

describe('what the keeper knows', () => {
  it('is the newest save, also for the next process', () => {
    const fd = createMemory('keeper', SIZE);
    const store = new KeeperStore(fd);
    expect(store.load()).toBeUndefined();
    for (const kexecs of [0, 1, 2]) store.save(state(kexecs));
    expect(new KeeperStore(fd).load()).toEqual(state(2));
  });

  it('is the save before, while a save is not published yet', () => {
    const fd = createMemory('keeper', SIZE);
    const memory = new Uint8Array(new Mapping(fd, SIZE).buffer, 0, SIZE);
    const store = new KeeperStore(fd);
    store.save(state(1));
    const published = memory.slice(0, HEADER_BYTES);
    store.save(state(2));
    memory.set(published); // all of the second save but its number
    expect(new KeeperStore(fd).load()).toEqual(state(1));
  });
});
