/**
 * The guest goes on in this process: each owner takes its section, then main runs the guest, then
 * its threads take over. An image that was exec'd, a standby, and an image that takes its guest
 * back all do this, and so does one that powers its guest on.
 */
import { setImmediate as nextSlice, setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { MainSlices } from '../crew/main-slices.ts';
import type { InitialState } from '../crew/vcpu/protocol.ts';
import type { GuestImage } from '../vm/guest-image.ts';
import type { Vm } from '../vm/vm.ts';
import type { Restorable } from './decoded-state.ts';
import type { HandOver } from './hand-over.ts';
import type { NewImage } from './new-image.ts';
import type { Phase } from './survivors.ts';
import type { WaitingCrew } from './waiting-crew.ts';

/**
 * So long main runs a guest that has been powered on, before its threads start. Each takes 60 to 80
 * ms of CPU time to come up (node 20, measured), and the guest's first lines need main, and with
 * devices the host's threads.
 */
const ALONE_MS = 50;
const PHASES: readonly Phase[] = ['map', 'remap', 'load'];

/** CLOCK_MONOTONIC ns when the survivors of each phase had been restored. */
export type RestoredNs = Readonly<Record<Phase, number>>;

/** Restores all survivors. `prepared`: this process prepared the image before. */
export function restoreAll(
  image: NewImage,
  restorables: readonly Restorable[],
  how: { readonly prepared: boolean },
): RestoredNs {
  const at = { map: 0, remap: 0, load: 0 };
  for (const phase of PHASES) {
    restorePhase(image, restorables, phase, how);
    at[phase] = monotonicNs();
  }
  return at;
}

function restorePhase(
  image: NewImage,
  restorables: readonly Restorable[],
  phase: Phase,
  { prepared }: { readonly prepared: boolean },
): void {
  for (const { survivor, state } of restorables) {
    if (survivor.phase !== phase) continue;
    if (!prepared) survivor.prepare(image, state);
    survivor.restore(image, state);
  }
}

/** The guest runs again, by main's hand. */
export interface Going {
  readonly vm: Vm;
  readonly slices: MainSlices;
  /** CLOCK_MONOTONIC ns: everything was loaded; the first instruction, if the guest is to run. */
  readonly loaded: number;
  readonly running: number;
  /** Waits until the kernel has the new vaddrs, if that is still under way. */
  readonly remapped?: (() => void) | undefined;
}

/**
 * Lets the guest go on from a restored image. It runs when this returns. `reset`: its machine is
 * reset first, because it was being reset when the process died that ran it.
 */
export async function goOn(image: NewImage, { reset = false } = {}): Promise<Going> {
  const { vm, slices, machine, state } = image;
  vm.restore({ paused: state.paused || reset });
  slices.begin(machine, { isGiven: image.isWatched }); // whoever has made the vital signs has the state, too
  const loaded = monotonicNs();
  if (reset) {
    image.remapped?.();
    vm.restore(state);
    const done = vm.systemReset();
    slices.turn();
    await done;
    return { vm, slices, loaded, running: monotonicNs() };
  }
  const unquiesced = vm.unquiesce();
  slices.turn();
  image.remapped?.(); // DMA needs no vaddr, and a device that does has waited
  const remapped = image.remapLater?.();
  const running = (await Promise.race([unquiesced, vm.ended.then(() => undefined)])) ?? loaded;
  return { vm, slices, loaded, running, remapped };
}

/** Powers the guest on. It runs, by main's hand, when this resolves. */
export async function powerOn(
  vm: Vm,
  state: InitialState,
  image: GuestImage | undefined,
): Promise<Pick<Going, 'vm' | 'slices'>> {
  const slices = new MainSlices(vm).begin(state);
  const done = vm.powerOn(image);
  slices.turn();
  await done;
  return { vm, slices };
}

/** As settle, for a guest that has been powered on. */
export async function settlePoweredOn(going: Pick<Going, 'vm' | 'slices'>): Promise<HandOver> {
  await sleep(ALONE_MS);
  return settle(going);
}

/**
 * Resolves when the guest's threads have taken over. It starts them, unless they wait already.
 */
export async function settle(
  { vm, slices, remapped }: Pick<Going, 'vm' | 'slices' | 'remapped'>,
  waiting?: WaitingCrew,
): Promise<HandOver> {
  await nextSlice();
  remapped?.();
  const { handOver } = await import('./hand-over.ts');
  return handOver(vm, slices, waiting);
}
