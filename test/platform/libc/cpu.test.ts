import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';

import { currentCpu, leaveCpu } from '../../../platform/libc/cpu.ts';

/** `Cpus_allowed_list` of this thread (proc_pid_status(5)). */
const allowed = (): string | undefined =>
  /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1'))?.[1];

/** The CPU that the thread was on last, by field 39 of proc_pid_stat(5). */
const lastCpu = (): number => Number(readFileSync('/proc/thread-self/stat', 'latin1').split(') ')[1]!.split(' ')[36]);

describe('the CPU of a thread', () => {
  it('is one that the thread may use', () => {
    expect(currentCpu()).toBeGreaterThanOrEqual(0);
    expect(Number.isInteger(lastCpu())).toBe(true);
  });

  it('is another one after the thread has left it, and all that were allowed still are', () => {
    const before = allowed();
    const left = leaveCpu();

    expect(left).toBe(availableParallelism() > 1);
    expect(allowed()).toBe(before);
  });
});
