/**
 * A new image commits when the guest has run in it for a while: its threads have taken over, and
 * each owner is well. Until then somebody stands by who would take the guest back.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import type { Vm } from '../../vm/vm.ts';
import type { NewImage } from '../new-image.ts';
import { publishIn } from './watched-vitals.ts';

/** Whoever stands by to take the guest back. */
export interface Protector {
  /** Whoever stands by from the moment on in which the protector is let go. */
  relief?: Relief;
  /** False once it has been let go. */
  readonly standing: boolean;
  /** The guest runs in this image. Returns when the protector knows. */
  running(image: NewImage): void;
  /** The guest is safe here: the protector may go. Resolves when it has gone. */
  committed(): Promise<void>;
  /** The guest ends in good order. Returns when the protector knows. */
  over(): void;
}

export interface Relief {
  /** Resolves when it could stand by, or takes too long. */
  readonly ready: Promise<unknown>;
  /** It stands by from now on. */
  stand(): void;
}

/**
 * Resolves when this image has committed. A protector that does not see the guest's vital signs
 * could not take the guest back, and the image commits at once.
 */
export async function commit({ vm, isWatched }: NewImage, protector: Protector, probationMs: number): Promise<void> {
  if (isWatched) await prove(vm, probationMs);
  await protector.relief?.ready;
  await protector.committed();
  if (vm.parts.options.guardian !== 'always') publishIn(vm.parts.vitals, false);
}

/**
 * Waits for the probation to pass, and asks the owners. Rejects when the guest cannot go on here;
 * the process must end then, and the protector takes the guest back.
 */
async function prove(vm: Vm, probationMs: number): Promise<void> {
  const noLonger = new AbortController();
  try {
    await Promise.race([sleep(probationMs, undefined, { signal: noLonger.signal }), vm.ended]);
  } finally {
    noLonger.abort();
  }
  vm.parts.host?.container.checkUpdatable(); // the kernel answers, and knows our container
}
