/**
 * Whether this process may use io_uring: not with kernel.io_uring_disabled, nor in many a
 * container.
 */
import { ioUringClose, ioUringSetup } from '../../platform/libc/io-uring.ts';

function tryRing(): boolean {
  try {
    ioUringClose(ioUringSetup(1));
    return true;
  } catch {
    return false;
  }
}

export const canRing = tryRing();
