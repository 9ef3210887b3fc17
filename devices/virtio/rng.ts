/** The entropy device (virtio 1.3 §5.4): it fills whatever buffers the driver gives. */
import { fillRandom } from '../../platform/random.ts';
import type { VirtioKind } from './device.ts';
import { lengthOf, scatter } from './queue.ts';

const QUEUE_SIZE = 8;
/** The device may fill less than it was given. */
const MOST = 65_536;

export const ENTROPY = { id: 4, classCode: 0x00ff00, features: 0n, queueSizes: [QUEUE_SIZE] };

/** `fill` fills bytes with random ones. */
export const entropy = (fill: (bytes: Uint8Array) => Uint8Array = fillRandom): VirtioKind => ({
  ...ENTROPY,
  config: new Uint8Array(),
  work(queue, _index, memory) {
    for (let chain = queue.take(); chain; chain = queue.take()) {
      const bytes = fill(new Uint8Array(Math.min(lengthOf(chain.writable), MOST)));
      queue.give(chain.head, scatter(memory, chain.writable, bytes));
    }
  },
});
