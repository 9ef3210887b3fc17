/**
 * Whether this process may use io_uring: not with kernel.io_uring_disabled, nor in many a
 * container.
 */
import { ioUringClose, ioUringSetup } from '../../platform/libc/io-uring.ts';
import { RequestRing } from '../../platform/request-ring.ts';

const EAGAIN = 11;

function tryRing(): boolean {
  try {
    ioUringClose(ioUringSetup(1));
    return true;
  } catch {
    return false;
  }
}

export const canRing = tryRing();

function tryWord(): boolean {
  const ring = RequestRing.create();
  let waits = false;
  ring.waitForWord({ words: new Int32Array(new SharedArrayBuffer(4)), index: 0, seen: 1, shared: false });
  ring.take((_, result) => {
    waits = result === -EAGAIN;
  });
  ring.close();
  return waits;
}

/** Whether such a ring waits for words, too (from Linux 6.7 on). */
export const canRingForWords = canRing && tryWord();
