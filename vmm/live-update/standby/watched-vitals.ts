/** The vital signs of an image that somebody stands by for. */
import { Publication } from '../../crew/publication.ts';
import { Vitals } from '../../crew/vitals.ts';

/** Fresh vital signs of so many harts, in which a vCPU publishes its state. ENOMEM, EMFILE. */
export function watchedVitals(harts: number): Vitals {
  const vitals = Vitals.create(harts);
  publishIn(vitals, true);
  return vitals;
}

/** Whether the vCPU publishes its state. */
export function publishIn({ shared }: Vitals, on: boolean): void {
  new Publication(shared.publication).wanted = on;
}
