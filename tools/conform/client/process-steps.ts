/** Steps that concern the process alone: fds, memory, limits, signals. */
import { isMainThread } from 'node:worker_threads';

import { enomem, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { mlock, mprotect } from '../../../platform/libc/mmap.ts';
import { getRlimit, RLIMIT_MEMLOCK, setRlimit } from '../../../platform/libc/other-process.ts';
import { PAGE_SIZE, pagesFor } from '../../../platform/page.ts';
import { hasIpcLock, memlockLimit } from '../../../platform/process.ts';
import { formatBytes } from '../notation.ts';
import type { StepTable } from '../steps/call-context.ts';
import { cpuLoad, cpuStore, mapBar } from './bars.ts';
import { lockedPages, setParameters } from './host-info.ts';
import { createMemory, mapObject, parseProt } from './memory.ts';
import { handleSignal } from './signals.ts';
import type { StepContext } from './step-context.ts';
import { becomeUser } from './user.ts';

const RLIM_INFINITY = 2n ** 64n - 1n;
const U64 = 64;

export const PROCESS_STEPS: StepTable<StepContext> = {
  mem({ step: { args }, state, words, note }) {
    const [name, kind, size, prot = 'rw'] = args as [string, string, string, string?];
    return words.status(() => {
      createMemory({ state, name, kind, size: words.count(size), prot: parseProt(prot), note });
      return 0;
    });
  },
  /** Maps the same object at another address. */
  remap({ step: { args }, state, words }) {
    const [old, name] = args as [string, string];
    const memory = state.memory(old);
    if (!memory) throw new RangeError(`no memory ${old}`);
    return words.status(() => {
      state.change({ symbol: name, vaddr: mapObject(state, memory), memory });
      return 0;
    });
  },
  munmap: ({ kernel, step: { args }, words }) =>
    words.status(() => {
      kernel.munmap(words.count(args[0]!), words.count(args[1]!));
      return 0;
    }),
  bar: mapBar,
  mprotect: ({ step: { args }, words }) =>
    words.status(() => {
      mprotect(words.count(args[0]!), words.count(args[1]!), parseProt(args[2]!));
      return 0;
    }),
  mlock: lockMemory,
  fill({ kernel, step: { args }, words }) {
    const [vaddr, length, byte] = args as [string, string, string];
    return cpuStore(kernel, words.count(vaddr), new Uint8Array(words.count(length)).fill(words.count(byte))) ?? '0';
  },
  peek({ kernel, step: { args }, words }) {
    const bytes = new Uint8Array(words.count(args[1]!));
    return cpuLoad(kernel, words.count(args[0]!), bytes) ?? `0 data=${formatBytes(bytes)}`;
  },
  load({ kernel, step: { args }, words }) {
    const bytes = new Uint8Array(8);
    const width = words.count(args[1]!);
    const fault = cpuLoad(kernel, words.count(args[0]!), bytes.subarray(0, width));
    return fault ?? `0 value=${hex(new DataView(bytes.buffer).getBigUint64(0, true))}`;
  },
  store({ kernel, step: { args }, words }) {
    const [vaddr, width, value] = args as [string, string, string];
    const bytes = new Uint8Array(BigUint64Array.of(words.number(value)).buffer);
    return cpuStore(kernel, words.count(vaddr), bytes.subarray(0, words.count(width))) ?? '0';
  },
  rlimit: limitMemlock,
  setuid({ step: { args }, words }) {
    becomeUser(words.count(args[0]!));
    return '0';
  },
  param({ kernel, step: { args }, words }) {
    return words.status(() => {
      setParameters(kernel, { [args[0]!]: args[1]! });
      return 0;
    });
  },
  /**
   * VmLck as the emulated kernel counts it: an unsigned long of pages, printed in KiB. Nothing here
   * charges VmPin.
   */
  status({ kernel }) {
    return `0 lck=${BigInt.asUintN(U64, BigInt(lockedPages(kernel)) * 4n)}kB pin=0kB`;
  },
  /** Sleeps, in an actor other than the main one. The event loop of the main actor goes on. */
  sleep({ step: { args }, words }) {
    // nobody wakes this
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, words.count(args[0]!));
    return '0';
  },
  /** Installs an empty handler. A thread leaves this to the main thread. */
  signal({ step: { args }, state, words }) {
    const signal = words.count(args[0]!);
    return words.status(() => {
      if (isMainThread) handleSignal(signal);
      state.change({ signal });
      return 0;
    });
  },
};

/**
 * mlock(2). The real kernel does not know what the emulated kernel has locked, so the limit is
 * checked here as well (as do_mlock does).
 */
function lockMemory({ kernel, step: { args }, words }: StepContext): Promise<string> {
  const [vaddr, length] = [words.count(args[0]!), words.count(args[1]!)];
  return words.status(() => {
    const wanted = lockedPages(kernel) + pagesFor(length);
    if (!hasIpcLock(process.pid) && wanted > memlockLimit(process.pid) / PAGE_SIZE) throw enomem('RLIMIT_MEMLOCK');
    mlock(vaddr, length);
    return 0;
  });
}

/** `rlimit memlock N [soft=1]`: sets both limits, or the soft one alone. */
function limitMemlock({ step: { args, options }, words, note }: StepContext): Promise<string> {
  const [resource, value] = args as [string, string];
  if (resource !== 'memlock') throw new RangeError(`no resource ${resource}`);
  const wanted = value === 'inf' ? RLIM_INFINITY : words.number(value);
  const { hard } = getRlimit(0, RLIMIT_MEMLOCK);
  const softOnly = options.soft !== undefined;
  return words.status(() => {
    try {
      setRlimit(0, RLIMIT_MEMLOCK, { soft: wanted, hard: softOnly ? hard : wanted });
    } catch (error) {
      // DEVIATION: without CAP_SYS_RESOURCE no limit can be raised above the hard limit that this
      // machine gives us.
      if (!(error instanceof SysError) || wanted <= hard) throw error;
      setRlimit(0, RLIMIT_MEMLOCK, { soft: hard, hard });
      note(`RLIMIT_MEMLOCK cannot be raised above ${hard} bytes here (no CAP_SYS_RESOURCE)`);
    }
    return 0;
  });
}
