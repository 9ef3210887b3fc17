/**
 * The console device (virtio 1.3 §5.3) with one port. What the host sends waits outside until the
 * driver has a buffer; what the driver sends waits in its queue while the host has no room.
 */
import type { VirtioKind } from './device.ts';
import { gather, lengthOf, scatter, type VirtioMemory, type Virtqueue } from './queue.ts';

const QUEUE_SIZE = 128;
/** §5.3.2: the queues of port 0. */
const RECEIVE = 0;
const TRANSMIT = 1;
/** The most that is moved at once. */
const PIECE = 4096;
/** The longest chain whose bytes are all sent. */
const LONGEST = 65_536;

/** The host's end of a line. */
export interface ByteStream {
  /** Takes bytes that have arrived, as many as there is room for; returns how many: 0 for none. */
  read(into: Uint8Array): number;
  /** false: there is no room for them now, and none was taken. */
  write(bytes: Uint8Array): boolean;
}

export const CONSOLE = { id: 3, classCode: 0x078000, features: 0n, queueSizes: [QUEUE_SIZE, QUEUE_SIZE] };

const RECEIVE_ONLY: readonly number[] = [RECEIVE];
const BOTH: readonly number[] = [RECEIVE, TRANSMIT];

export function serialConsole(stream: ByteStream): VirtioKind {
  const piece = new Uint8Array(PIECE);
  let blocked = true; // something may wait from before a save
  return {
    ...CONSOLE,
    config: new Uint8Array(12),
    work(queue, index, memory) {
      if (index === RECEIVE) receive(queue, stream, memory, piece);
      else blocked = !transmit(queue, stream, memory);
    },
    pending: () => (blocked ? BOTH : RECEIVE_ONLY),
  };
}

/** At most a ring of chains before the driver has a turn: then the queue says that it stopped. */
function receive(queue: Virtqueue, stream: ByteStream, memory: VirtioMemory, piece: Uint8Array): void {
  for (let left = queue.size; queue.hasChain(); left--) {
    if (left === 0) {
      queue.stopped = true;
      return;
    }
    const chain = queue.takeFound();
    const room = Math.min(lengthOf(chain.writable), PIECE);
    const count = room === 0 ? 0 : stream.read(piece.subarray(0, room));
    if (count === 0 && room > 0) {
      queue.putBack();
      return;
    }
    scatter(memory, chain.writable, piece.subarray(0, count));
    queue.give(chain.head, count);
  }
}

/** false: chains wait for room. */
function transmit(queue: Virtqueue, stream: ByteStream, memory: VirtioMemory): boolean {
  for (let chain = queue.take(); chain; chain = queue.take()) {
    const bytes = new Uint8Array(Math.min(lengthOf(chain.readable), LONGEST));
    gather(memory, chain.readable, bytes);
    if (!stream.write(bytes)) {
      queue.putBack();
      return false;
    }
    queue.give(chain.head, 0);
  }
  return true;
}
