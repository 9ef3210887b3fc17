/** The guest goes back to an image that it ran in, because the process that had it failed. */
import type { Vitals } from '../../crew/vitals.ts';
import type { Restorable } from '../decoded-state.ts';
import { type Going, goOn, restoreAll } from '../go-on.ts';
import type { NewImage } from '../new-image.ts';
import type { StateFile } from '../state-file.ts';
import { lastState } from './last-state.ts';

/** What the process that failed has left. */
export interface Remains {
  /** The state that it began with. */
  readonly saved: StateFile;
  readonly vitals: Vitals;
  /** Whether the guest has run there by other vital signs. */
  readonly ranUnseen: boolean;
}

/**
 * Lets the guest run on in `image`, whose prepared part stands; `decode` reads a state for this
 * process. To be called once, after the other process has died. It runs when this returns. `told`
 * gets the whole state just before. EIO: the last state of the guest is not known.
 */
export async function rollBack(
  image: NewImage,
  { saved, vitals, ranUnseen }: Remains,
  decode: (state: StateFile) => readonly Restorable[],
  told: (state: readonly Restorable[]) => void = () => {},
): Promise<Going> {
  const { state, reset, doubts } = lastState(saved, vitals, image.ram.mapping.buffer, ranUnseen);
  image.doubts.push(...doubts);
  const restorables = decode(state);
  told(restorables);
  restoreAll(image, restorables, { prepared: true });
  return goOn(image, { reset });
}
