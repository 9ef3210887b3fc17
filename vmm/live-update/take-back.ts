/**
 * The take-back is the beginning of an exec update. Main takes the guest over from its threads at a
 * slice boundary. The threads end while main runs the guest. Otherwise execve would wait for each
 * thread and give its heap back page by page: 5 ms of the pause (measured).
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { MainSlices } from '../crew/main-slices.ts';
import type { Vm } from '../vm/vm.ts';

/**
 * Main waits no longer than this for threads to end. A thread that still runs only makes the execve
 * slower.
 */
const ENDING_MS = 1000;

/** The cost of the take-back for the guest, before the pause. */
export interface TakenBack {
  readonly slices: MainSlices;
  /** CLOCK_MONOTONIC when main had the guest. */
  readonly atNs: number;
  /** Time from the thread's last instruction to main's first one; 0 for a guest that is stopped. */
  readonly gapNs: number;
}

/** Resolves when the threads are gone. ETIMEDOUT: the threads go on. */
export async function takeBack(vm: Vm): Promise<TakenBack> {
  const { vcpu, interrupts } = vm.parts;
  const threads = [vcpu.gone, interrupts?.gone];
  const taken = await vm.change(async () => {
    const stopped = await vm.quiesce();
    const { atNs: lastNs } = stopped;
    vm.relieve();
    const slices = new MainSlices(vm).begin(stopped.state());
    const running = vm.unquiesce();
    slices.turn();
    const firstNs = (await running) ?? lastNs;
    return { slices, atNs: monotonicNs(), gapNs: firstNs - lastNs };
  });
  const noLonger = new AbortController();
  await Promise.race([Promise.all(threads), sleep(ENDING_MS, undefined, { signal: noLonger.signal }).catch(() => {})]);
  noLonger.abort();
  return taken;
}
