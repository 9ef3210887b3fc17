/** The vital signs of an image that somebody stands by for. */
import { Publication } from '../../crew/publication.ts';
import { Vitals } from '../../crew/vitals.ts';
import { HARTS } from '../../machine/hart-local/hart-number.ts';

/** Fresh vital signs, in which a vCPU publishes its state. ENOMEM, EMFILE. */
export function watchedVitals(): Vitals {
  const vitals = Vitals.create(HARTS);
  publishIn(vitals, true);
  return vitals;
}

/** Whether the vCPU publishes its state. */
export function publishIn({ shared }: Vitals, on: boolean): void {
  new Publication(shared.publication).wanted = on;
}
