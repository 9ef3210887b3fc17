/** The guest goes back to an image that it ran in, because the process that had it failed. */
import type { Vitals } from '../../crew/vitals.ts';
import { type Going, goOn, restoreAll } from '../go-on.ts';
import type { NewImage } from '../new-image.ts';
import type { StateFile } from '../state-file.ts';
import type { Restorable } from '../survivors.ts';
import { lastState } from './last-state.ts';

/** What the process that failed has left. */
export interface Remains {
  /** The state that it began with. */
  readonly saved: StateFile;
  readonly vitals: Vitals;
  /** Whether the guest has run there. */
  readonly hasRun: boolean;
}

/**
 * Lets the guest run on in `image`, whose prepared part stands; `decode` reads a state for this
 * process. To be called once, after the other process has died. It runs when this returns. EIO: the
 * last state of the guest is not known.
 */
export async function rollBack(
  image: NewImage,
  { saved, vitals, hasRun }: Remains,
  decode: (state: StateFile) => readonly Restorable[],
): Promise<Going> {
  const { state, reset, doubts } = lastState(saved, vitals, image.ram.mapping.buffer, hasRun);
  image.doubts.push(...doubts);
  restoreAll(image, decode(state), { prepared: true });
  return goOn(image, { reset });
}
