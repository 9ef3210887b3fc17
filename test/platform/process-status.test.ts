import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { gettid } from '../../platform/libc/this-process.ts';
import { cpuWanted } from '../../platform/process-status.ts';

/** The online CPUs' numbers are below this one. */
const nrCpus = Number(/(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))![1]) + 1;

describe('the CPU that a thread wants', () => {
  it('is the one that it runs on', () => {
    expect(cpuWanted(process.pid, gettid())).toBeLessThan(nrCpus);
  });

  it('is none while it sleeps, and none of a thread that is not there', () => {
    expect(cpuWanted(1, 1)).toBeUndefined();
    expect(cpuWanted(process.pid, 1)).toBeUndefined();
  });
});
