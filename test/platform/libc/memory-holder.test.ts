import { existsSync, readdirSync, readFileSync } from 'node:fs';

import { describe, expect, it, vi } from 'vitest';

import { Owner } from './memory-owner.ts';

/** Where the heap begins: at a random address in each memory. */
const heapOf = (pid: number): string | undefined =>
  /^([0-9a-f]+)-.*\[heap\]$/m.exec(readFileSync(`/proc/${pid}/maps`, 'latin1'))?.[1];
const stateOf = (pid: number): string | undefined =>
  /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
const exists = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe('a holder of memory', () => {
  it('has the memory of the process, and none of its fds', async () => {
    const owner = new Owner();
    const { pid } = await owner.holder();
    expect(heapOf(pid)).toMatch(/./);
    expect(heapOf(pid)).toBe(heapOf(owner.pid));
    expect(readdirSync(`/proc/${pid}/fd`)).toEqual(['0']);
  });

  it('sleeps on when a signal comes that would end the process', async () => {
    const { pid } = await new Owner().holder();
    process.kill(pid, 'SIGTERM');
    process.kill(pid, 'SIGINT');
    await vi.waitFor(() => expect(stateOf(pid)).toBe('S'));
  });

  it('has ended, and somebody has waited for it, when it was let go', async () => {
    const owner = new Owner();
    const { pid } = await owner.holder();
    await owner.does('end');
    expect(exists(pid)).toBe(false);
  });

  it('keeps the old memory over an execve, until the new image lets it go', async () => {
    const owner = new Owner();
    const { pid } = await owner.holder();
    const before = heapOf(pid);
    await owner.does('exec');
    expect(heapOf(pid)).toBe(before);
    expect(heapOf(owner.pid)).not.toBe(before);
    await owner.does('end');
    expect(exists(pid)).toBe(false);
  });

  it.each(['before', 'after'])('ends when the process is killed %s an execve', async (when) => {
    const owner = new Owner();
    const { pid } = await owner.holder();
    if (when === 'after') await owner.does('exec');
    owner.process.kill('SIGKILL');
    await vi.waitFor(() => expect(exists(pid) && stateOf(pid) !== 'Z').toBe(false));
  });

  it('is not there when the process can open no fds', async () => {
    expect(await new Owner('full').says()).toBeNull();
  });
});
