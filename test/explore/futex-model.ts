/**
 * platform/libc/futex.ts as scenarios model it: all sleepers sleep on the one word of `kick`. And
 * what clients of pages ask of their CPU.
 */
import type { WaitedWord } from '../../platform/libc/futex.ts';
import { inSteps, type LibcModel } from './scenario.ts';

export function futexModel(kick: SharedArrayBuffer): LibcModel {
  const kicks = new Int32Array(kick);
  return {
    ...cpuModel(),
    hasFutexWaitAny: () => true,
    futexWake: inSteps(() => {
      Atomics.add(kicks, 0, 1);
      Atomics.notify(kicks, 0);
    }),
    futexWait: inSteps((word: WaitedWord, timeoutMs: number) => waitAny(kicks, [word], timeoutMs)),
    futexWaitAny: inSteps((list: readonly WaitedWord[], timeoutMs: number) => waitAny(kicks, list, timeoutMs)),
  };
}

function waitAny(kicks: Int32Array, list: readonly WaitedWord[], timeoutMs: number): void {
  for (;;) {
    const seen = Atomics.load(kicks, 0); // before the words: Linux compares and sleeps in one step
    if (list.some((word) => Atomics.load(word.words, word.index) !== word.seen)) return;
    if (Atomics.wait(kicks, 0, seen, timeoutMs) === 'timed-out') return;
  }
}

/** platform/libc/cpu.ts. No steps: another thread may run at any step as it is. */
export const cpuModel = (): LibcModel => ({ currentCpu: inSteps(() => 0), yieldCpu: inSteps(() => {}) });
