/**
 * The beginning of an exec update: at a slice boundary main takes the guest over from its threads,
 * which end while it runs by main's hand. execve would wait for each of them and give their heaps
 * back page by page: 5 ms of the pause (measured).
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { MainSlices } from '../crew/main-slices.ts';
import type { Vm } from '../vm/vm.ts';

/** Longer is not waited for threads that take their time; they only make the execve slower. */
const ENDING_MS = 1000;

/** What it cost the guest, before the pause. */
export interface TakenBack {
  readonly slices: MainSlices;
  /** CLOCK_MONOTONIC when main had it. */
  readonly atNs: number;
  /**
   * From the last instruction by the thread to the first one by main; 0 for a guest that is
   * stopped.
   */
  readonly gapNs: number;
}

/** Resolves when the threads are gone. ETIMEDOUT: they go on. */
export async function takeBack(vm: Vm): Promise<TakenBack> {
  const { vcpu, interrupts } = vm.parts;
  const threads = [vcpu.gone, interrupts?.gone];
  const taken = await vm.change(async () => {
    const { atNs: lastNs, state } = await vm.quiesce();
    vm.relieve();
    const slices = new MainSlices(vm, state);
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
