/** Steps that concern the process alone: memory, limits, signals. */
import { enomem, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE, pagesFor } from '../../../platform/page.ts';
import { hasIpcLock, memlockLimit } from '../../../platform/process-rights.ts';
import { formatBytes } from '../notation.ts';
import { mapBar } from './bar.ts';
import type { StepTable } from './call-context.ts';
import { lockedPages, setParameters } from './host-info.ts';
import { createMemory, mapObject, parseProt } from './memory.ts';
import type { ProcessContext } from './process-calls.ts';

const RLIM_INFINITY = 2n ** 64n - 1n;
const U64 = 64;

export const PROCESS_STEPS: StepTable<ProcessContext> = {
  mem({ calls, step: { args }, state, words, note }) {
    const [name, kind, size, prot = 'rw'] = args as [string, string, string, string?];
    return words.status(async () => {
      await createMemory({ calls, state }, { name, kind, size: words.count(size), prot: parseProt(prot), note });
      return 0;
    });
  },
  /** Maps the same object at another address. */
  remap({ calls, step: { args }, state, words }) {
    const [old, name] = args as [string, string];
    const memory = state.memory(old);
    if (!memory) throw new RangeError(`no memory ${old}`);
    return words.status(async () => {
      state.change({ symbol: name, vaddr: await mapObject({ calls, state }, memory), memory });
      return 0;
    });
  },
  munmap: ({ calls, step: { args }, words }) =>
    words.status(async () => {
      await calls.munmap(words.count(args[0]!), words.count(args[1]!));
      return 0;
    }),
  bar: mapBar,
  mprotect: ({ calls, step: { args }, words }) =>
    words.status(async () => {
      await calls.mprotect(words.count(args[0]!), words.count(args[1]!), parseProt(args[2]!));
      return 0;
    }),
  mlock: lockMemory,
  async fill({ calls, step: { args }, words }) {
    const [vaddr, length, byte] = args as [string, string, string];
    const bytes = new Uint8Array(words.count(length)).fill(words.count(byte));
    return (await calls.store(words.count(vaddr), bytes)) ?? '0';
  },
  async peek({ calls, step: { args }, words }) {
    const bytes = new Uint8Array(words.count(args[1]!));
    return (await calls.load(words.count(args[0]!), bytes)) ?? `0 data=${formatBytes(bytes)}`;
  },
  async load({ calls, step: { args }, words }) {
    const bytes = new Uint8Array(8);
    const fault = await calls.load(words.count(args[0]!), bytes.subarray(0, words.count(args[1]!)));
    return fault ?? `0 value=${hex(new DataView(bytes.buffer).getBigUint64(0, true))}`;
  },
  async store({ calls, step: { args }, words }) {
    const [vaddr, width, value] = args as [string, string, string];
    const bytes = new Uint8Array(BigUint64Array.of(words.number(value)).buffer);
    return (await calls.store(words.count(vaddr), bytes.subarray(0, words.count(width)))) ?? '0';
  },
  rlimit: limitMemlock,
  async setuid({ calls, step: { args }, words }) {
    await calls.setuid(words.count(args[0]!));
    return '0';
  },
  param({ host, step: { args }, words }) {
    return words.status(() => {
      setParameters(host, { [args[0]!]: args[1]! });
      return 0;
    });
  },
  /**
   * VmLck as the emulated kernel counts it: an unsigned long of pages, printed in KiB. Nothing here
   * charges VmPin.
   */
  status({ calls, host }) {
    return `0 lck=${BigInt.asUintN(U64, BigInt(lockedPages(host, calls.pid)) * 4n)}kB pin=0kB`;
  },
  /** Sleeps, in an actor other than the main one. The event loop of the main actor goes on. */
  async sleep({ calls, step: { args }, words }) {
    await calls.sleep(words.count(args[0]!));
    return '0';
  },
  /** Installs an empty handler. */
  signal({ calls, step: { args }, state, words }) {
    const signal = words.count(args[0]!);
    return words.status(async () => {
      await calls.handleSignal(signal);
      state.change({ signal });
      return 0;
    });
  },
};

/**
 * mlock(2). The real kernel does not know what the emulated kernel has locked, so the limit is
 * checked here as well (as do_mlock does).
 */
function lockMemory({ calls, host, step: { args }, words }: ProcessContext): Promise<string> {
  const { pid } = calls;
  const [vaddr, length] = [words.count(args[0]!), words.count(args[1]!)];
  return words.status(async () => {
    const wanted = lockedPages(host, pid) + pagesFor(length);
    if (!hasIpcLock(pid) && wanted > memlockLimit(pid) / PAGE_SIZE) throw enomem('RLIMIT_MEMLOCK');
    await calls.mlock(vaddr, length);
    return 0;
  });
}

/** `rlimit memlock N [soft=1]`: sets both limits, or the soft one alone. */
function limitMemlock({ calls, step: { args, options }, words, note }: ProcessContext): Promise<string> {
  const [resource, value] = args as [string, string];
  if (resource !== 'memlock') throw new RangeError(`no resource ${resource}`);
  const wanted = value === 'inf' ? RLIM_INFINITY : words.number(value);
  const softOnly = options.soft !== undefined;
  return words.status(async () => {
    const { hard } = await calls.getMemlock();
    try {
      await calls.setMemlock({ soft: wanted, hard: softOnly ? hard : wanted });
    } catch (error) {
      // DEVIATION: without CAP_SYS_RESOURCE no limit can be raised above the hard limit that this
      // machine gives us.
      if (!(error instanceof SysError) || wanted <= hard) throw error;
      await calls.setMemlock({ soft: hard, hard });
      note(`RLIMIT_MEMLOCK cannot be raised above ${hard} bytes here (no CAP_SYS_RESOURCE)`);
    }
    return 0;
  });
}
