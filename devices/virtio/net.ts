/**
 * The network device (virtio 1.3 §5.1), one pair of queues, without offloads. Frames that arrive
 * wait outside until the driver has a buffer; frames to send wait in their queue while the other
 * side has no room. So the device itself holds no frame, and a save misses none.
 */
import type { VirtioKind } from './device.ts';
import { BadQueue, gather, lengthOf, scatter, type VirtioMemory, type Virtqueue } from './queue.ts';

const QUEUE_SIZE = 256;
/** §5.1.2: the queues by number. */
const RECEIVE = 0;
const TRANSMIT = 1;
const F_MAC = 1n << 5n;
const F_STATUS = 1n << 16n;
const S_LINK_UP = 1;
/** struct virtio_net_hdr (§5.1.6). */
const HEADER = 12;
const NUM_BUFFERS = 10;

/** The longest frame: the device has no segmentation, so drivers send far shorter ones. */
export const MAX_FRAME = 65_536;
/** A full wire tells nobody when it has room again, so it is asked after this time. */
const RETRY_MS = 1;

/** The host's end of the wire: whole Ethernet frames, without checksum. */
export interface NetPort {
  /** The next frame that has arrived, in memory that the next call uses again; undefined: none. */
  receive(): Uint8Array | undefined;
  /** false: there is no room for it now, and it has to be sent again. A frame may get lost. */
  send(frame: Uint8Array): boolean;
}

const RECEIVE_ONLY: readonly number[] = [RECEIVE];
const BOTH: readonly number[] = [RECEIVE, TRANSMIT];

export const NETWORK = {
  id: 1,
  classCode: 0x020000,
  features: F_MAC | F_STATUS,
  queueSizes: [QUEUE_SIZE, QUEUE_SIZE],
};

/** `mac`: 6 bytes. */
export function network(port: NetPort, mac: Uint8Array): VirtioKind {
  const config = new Uint8Array(8);
  config.set(mac);
  config[6] = S_LINK_UP;
  const frame = new Uint8Array(MAX_FRAME);
  let blocked = true; // there may be frames from before a save
  return {
    ...NETWORK,
    config,
    work(queue, index, memory) {
      if (index === RECEIVE) receive(queue, port, memory);
      else blocked = !transmit(queue, port, memory, frame);
    },
    pending: () => (blocked ? BOTH : RECEIVE_ONLY),
    dueMs: () => (blocked ? RETRY_MS : undefined),
  };
}

/**
 * §5.1.6.4: each frame goes into one chain, a header without offloads before it. One that does not
 * fit is dropped, as on a wire. The driver gets no more than a ring of frames before it has a turn:
 * then the queue says that it stopped.
 */
function receive(queue: Virtqueue, port: NetPort, memory: VirtioMemory): void {
  const header = new Uint8Array(HEADER);
  header[NUM_BUFFERS] = 1;
  for (let left = queue.size; queue.hasChain(); left--) {
    if (left === 0) {
      queue.stopped = true;
      return;
    }
    const frame = port.receive();
    if (!frame) return;
    const chain = queue.takeFound();
    const length = HEADER + frame.length;
    if (lengthOf(chain.writable) < length) {
      queue.putBack();
      continue;
    }
    scatter(memory, chain.writable, header);
    scatter(memory, chain.writable, frame, HEADER);
    queue.give(chain.head, length);
  }
}

/** §5.1.6.2; false: frames wait for room. */
function transmit(queue: Virtqueue, port: NetPort, memory: VirtioMemory, frame: Uint8Array): boolean {
  for (let chain = queue.take(); chain; chain = queue.take()) {
    const length = lengthOf(chain.readable) - HEADER;
    if (length < 0) throw new BadQueue('a frame without its header');
    if (length <= MAX_FRAME) {
      const whole = frame.subarray(0, gather(memory, chain.readable, frame.subarray(0, length), HEADER));
      if (!port.send(whole)) {
        queue.putBack();
        return false;
      }
    }
    queue.give(chain.head, 0);
  }
  return true;
}
