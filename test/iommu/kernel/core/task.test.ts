import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ChannelTask, Process, ProcessTable } from '../../../../iommu/kernel/core/task.ts';
import { getRlimit, RLIMIT_MEMLOCK } from '../../../../platform/libc/other-process.ts';
import { hasIpcLock, hasIpcLockWhereItIs } from '../../../../platform/process-rights.ts';
import { whyNoNamespaces } from '../../../namespaces.ts';
import { SharedMemory } from '../../../platform/shared-memory.ts';

/** A process that execs when it is told to. */
let child: ChildProcess;
let pid: number;

beforeEach(async () => {
  child = spawn('sh', ['-c', 'read line; exec sleep 100'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'spawn');
  pid = child.pid!;
});
afterEach(async () => {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

async function kill(): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('process', () => {
  it('keeps its identity over exec and gets a new address space; the old one is dead for whoever holds it', async () => {
    const process = new Process(pid);
    const old = process.currentMm().grab();
    expect(old.alive()).toBe(true);

    child.stdin!.write('\n');
    await vi.waitUntil(() => !old.alive());

    const mm = process.currentMm();
    expect(mm).not.toBe(old);
    expect(mm.alive()).toBe(true);
    expect(process.exited()).toBe(false);
    old.drop();
    process.close();
  });

  // a seccomp filter may forbid personality(2)
  const canBeFixed = spawnSync('setarch', ['-R', 'true']).status === 0;
  it.for([[], ...(canBeFixed ? [['setarch', '-R']] : [])])(
    'gets a new address space though another process keeps the old one alive',
    async (under) => {
      const memory = await SharedMemory.start(under);
      const process = new Process(memory.pid);
      const old = process.currentMm().grab();
      expect(process.mmNow()).toBe(old);

      await memory.exec();

      expect(old.alive()).toBe(true);
      const mm = process.mmNow();
      expect(mm).not.toBe(old);
      expect(process.mmNow()).toBe(mm);
      expect(process.currentMm()).toBe(mm);
      memory.unshare();
      await vi.waitUntil(() => !old.alive());
      old.drop();
      process.close();
    },
  );

  it('ends when a thread other than its leader execs, though the pid lives on (ACC-7)', async () => {
    const table = new ProcessTable();
    const process = table.open(pid);
    process.entered(pid + 1, true);
    expect(process.exited()).toBe(false);
    const old = process.currentMm();

    child.stdin!.write('\n');
    await vi.waitUntil(() => !old.alive());

    expect(process.exited()).toBe(true);
    expect(table.open(pid)).not.toBe(process);
    table.close();
  });

  it('lives on over an exec by its leader, and when a thread has come back from an execve that failed', async () => {
    const process = new Process(pid);
    process.entered(pid + 1, true);
    process.entered(pid + 1, false);
    process.entered(pid, true);
    const old = process.currentMm();

    child.stdin!.write('\n');
    await vi.waitUntil(() => !old.alive());

    expect(process.exited()).toBe(false);
    process.close();
  });

  it('is one object for all who ask, until it exits', async () => {
    const table = new ProcessTable();
    const process = table.open(pid);
    expect(table.open(pid)).toBe(process);
    expect(process.currentMm()).toBe(process.currentMm());

    await kill();

    expect(process.exited()).toBe(true);
    expect(() => table.open(pid)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    table.close();
  });
});

describe('task', () => {
  it('holds its address space beyond the end of its process', async () => {
    const table = new ProcessTable();
    const task = new ChannelTask(pid, table.open(pid), { killed: new AbortController().signal, memlock: 'as-process' });

    await kill();
    table.reap();

    expect(task.mm.alive()).toBe(false);
    task.end();
    table.close();
  });

  it('must be a thread of its process', () => {
    const process = new Process(pid);

    expect(() => new ChannelTask(1, process, { killed: new AbortController().signal, memlock: 'as-process' })).toThrow(
      expect.objectContaining({ code: 'ESRCH' }),
    );
    process.close();
  });

  it.each([
    ['unlimited', Number.POSITIVE_INFINITY],
    [5 * 4096 + 1, 5],
  ] as const)('may lock what the host was told instead: %s', (memlock, pages) => {
    const process = new Process(pid);
    const task = new ChannelTask(pid, process, { killed: new AbortController().signal, memlock });
    expect(task.memlockLimitPages()).toBe(pages);
    task.end();
    process.close();
  });

  it('has the limits and capabilities of the real process', async () => {
    const process = new Process(pid);
    const task = new ChannelTask(pid, process, { killed: new AbortController().signal, memlock: 'as-process' });
    const { soft } = getRlimit(pid, RLIMIT_MEMLOCK);

    expect(task.memlockLimitPages()).toBe(soft === 2n ** 64n - 1n ? Number.POSITIVE_INFINITY : Number(soft / 4096n));
    expect(task.capIpcLock()).toBeTypeOf('boolean');

    await kill();
    expect(task.capIpcLock()).toBe(false);
    task.end();
    process.close();
  });

  it('of a process that stays in its user namespace loses its capabilities all the same', async () => {
    const process = new Process(pid);
    const task = new ChannelTask(pid, process, { killed: new AbortController().signal, memlock: 'as-process' });
    task.staysInNamespace = true;
    expect(task.capIpcLock()).toBe(hasIpcLock(pid));

    await kill();

    expect(task.capIpcLock()).toBe(false);
    task.end();
    process.close();
  });

  it.skipIf(whyNoNamespaces() !== undefined)('has no capability by a user namespace below ours', async () => {
    const inner = spawn('unshare', ['--user', '--map-root-user', 'sh', '-c', 'echo; read line']);
    await once(inner.stdout, 'data');
    const process = new Process(inner.pid!);
    const task = new ChannelTask(inner.pid!, process, {
      killed: new AbortController().signal,
      memlock: 'as-process',
    });

    const before = task.capIpcLock();
    task.staysInNamespace = true;

    expect([before, task.capIpcLock(), hasIpcLockWhereItIs(inner.pid!)]).toEqual([false, false, true]);
    task.end();
    process.close();
    inner.kill('SIGKILL');
    await once(inner, 'exit');
  });
});
