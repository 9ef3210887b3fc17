/**
 * Plays a device worker: stores to a vector's doorbell, again and again, and tells after each lot.
 */
import { DoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { workerInput } from '../../../platform/thread.ts';
import { ASKED, DONE, type RingWork } from './ring-words.ts';

const { interrupts, vector, perLot, lots } = workerInput<RingWork>();
const table = new DoorbellTable(interrupts);
const words = new Int32Array(lots);
for (;;) {
  const done = Atomics.load(words, DONE);
  const asked = Atomics.load(words, ASKED);
  if (asked === -1) break;
  if (asked === done) {
    Atomics.wait(words, ASKED, asked, 1000); // woken by the test
    continue;
  }
  for (let i = 0; i < perLot; i++) table.ring(vector);
  Atomics.store(words, DONE, done + 1);
  Atomics.notify(words, DONE);
}
