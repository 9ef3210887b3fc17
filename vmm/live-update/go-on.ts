/**
 * The guest goes on in this process: each owner takes its section, then main runs the guest, then
 * its threads take over. An image that was exec'd, a standby, and an image that takes its guest
 * back all do this.
 */
import { setImmediate as nextSlice } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { MainSlices } from '../crew/main-slices.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { Vm } from '../vm/vm.ts';
import type { HandOver } from './hand-over.ts';
import type { NewImage } from './new-image.ts';
import { roundedMs } from './phases.ts';
import type { Phase, Restorable } from './survivors.ts';

/**
 * Restores the survivors of one phase, and returns the time when that was done (CLOCK_MONOTONIC
 * ns). `prepared`: this process prepared the image before.
 */
export function restorePhase(
  image: NewImage,
  restorables: readonly Restorable[],
  phase: Phase,
  { prepared }: { readonly prepared: boolean },
): number {
  for (const { survivor, state } of restorables) {
    if (survivor.phase !== phase) continue;
    if (!prepared) survivor.prepare(image, state);
    survivor.restore(image, state);
  }
  return monotonicNs();
}

/** The guest runs again, by main's hand. */
export interface Going {
  readonly vm: Vm;
  readonly slices: MainSlices;
  /** CLOCK_MONOTONIC ns: everything was loaded; the first instruction, if the guest is to run. */
  readonly loaded: number;
  readonly running: number;
}

/**
 * Lets the guest go on from a restored image. It runs when this returns. `reset`: its machine is
 * reset first, because it was being reset when the process died that ran it.
 */
export async function goOn({ vm, machine, state }: NewImage, { reset = false } = {}): Promise<Going> {
  vm.restore({ paused: state.paused || reset });
  const slices = new MainSlices(vm, machine);
  const loaded = monotonicNs();
  if (reset) {
    vm.restore(state);
    const done = vm.systemReset();
    slices.turn();
    await done;
    return { vm, slices, loaded, running: monotonicNs() };
  }
  const unquiesced = vm.unquiesce();
  slices.turn();
  const running = (await Promise.race([unquiesced, vm.ended.then(() => undefined)])) ?? loaded;
  return { vm, slices, loaded, running };
}

/** Starts the guest's threads, and resolves when they have taken over. */
export async function settle({ vm, slices }: Pick<Going, 'vm' | 'slices'>): Promise<HandOver> {
  await nextSlice();
  const { handOver } = await import('./hand-over.ts');
  return handOver(vm, slices);
}

/** What the hand-over cost, in ms; main ran the guest from `running` on. */
export const handOverMs = ({ lastNs, firstNs, longestGapNs }: HandOver, running: number): JsonObject => ({
  afterMs: roundedMs(lastNs - running),
  gapMs: roundedMs(firstNs - lastNs),
  longestGapMs: roundedMs(longestGapNs),
});
