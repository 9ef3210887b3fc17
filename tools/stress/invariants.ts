/**
 * The invariants of docs/DESIGN.md ("Invariants") by number, each as a run can see it, and the
 * error that is thrown when one is broken. They hold whatever the actors do.
 */

export const INVARIANTS = {
  '1': 'after UNMAP_DMA has returned, no device changes a byte behind that range',
  '2': 'a mapped range never faults, and UNMAP VADDR changes no translation',
  '3': 'invalid entries, dma_avail and pins are what the mappings say',
  '4': 'no interrupt that a device raised is lost',
  '5': 'an exec that fails leaves the client running in the old image; else it runs on in the new one',
  '6': 'no client makes the host fall over or hang',
  answer: 'a call is answered as the rules of VFIO say',
  client: 'a client ends when it is told to, and complains about nothing else',
} as const;

export type Invariant = keyof typeof INVARIANTS;

export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, message: string) {
    super(message);
    this.invariant = invariant;
  }
}
