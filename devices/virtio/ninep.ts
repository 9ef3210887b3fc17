/**
 * The file system device of 9P (virtio device id 9): each chain has a request, and room for its
 * answer. The configuration is the tag by which the guest mounts it.
 */
import type { VirtioKind } from './device.ts';
import { HEADER } from './ninep-message.ts';
import { MOST_MSIZE } from './ninep-server.ts';
import { BadQueue, gather, lengthOf, scatter } from './queue.ts';

const QUEUE_SIZE = 128;
const F_MOUNT_TAG = 1n;

export const FILE_SYSTEM = { id: 9, classCode: 0x000200, features: F_MOUNT_TAG, queueSizes: [QUEUE_SIZE] };

/** Who answers requests of 9P. */
export interface NinepAnswers {
  /** Answers a request of at least HEADER bytes; returns the length of the answer in `into`. */
  answer(request: Uint8Array, into: Uint8Array): number;
}

export function fileSystem(server: NinepAnswers, tag: string): VirtioKind {
  const name = Buffer.from(tag);
  const config = new Uint8Array(2 + name.length);
  config[0] = name.length;
  config.set(name, 2);
  const request = new Uint8Array(MOST_MSIZE);
  const answer = new Uint8Array(MOST_MSIZE);
  return {
    ...FILE_SYSTEM,
    config,
    work(queue, _index, memory) {
      for (let chain = queue.take(); chain; chain = queue.take()) {
        const length = lengthOf(chain.readable);
        if (length < HEADER || length > MOST_MSIZE) throw new BadQueue(`a request of ${length} bytes`);
        gather(memory, chain.readable, request.subarray(0, length));
        memory.idle(); // the files may take long, and nobody shall wait for the memory meanwhile
        const answered = server.answer(request.subarray(0, length), answer);
        if (answered > lengthOf(chain.writable)) throw new BadQueue(`no room for an answer of ${answered} bytes`);
        queue.give(chain.head, scatter(memory, chain.writable, answer.subarray(0, answered)));
      }
    },
  };
}
