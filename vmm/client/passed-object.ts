/** A request whose answer brings a memory object along (SCM_RIGHTS). */
import type { Hello, Reply, Request } from '../../iommu/abi/wire.ts';
import { SysError } from '../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../platform/frames.ts';
import { recvWithFd } from '../../platform/libc/pass-fd.ts';
import { sendAll } from '../../platform/libc/unix-socket.ts';

export interface PassedObject {
  readonly reply: Reply;
  /** The object's fd, which the caller closes. Undefined when none came. */
  readonly object: number | undefined;
}

/** Sends a frame and waits for its answer. EPIPE: the host is gone. */
export function askForObject(socket: number, message: Hello | Request): PassedObject {
  sendAll(socket, encodeFrame(message));
  const frames = new FrameReader();
  const bytes = new Uint8Array(4096);
  let object: number | undefined;
  for (;;) {
    const { count, passed } = recvWithFd(socket, bytes);
    object ??= passed;
    if (count === 0) throw new SysError('EPIPE', 'the host is gone');
    const [reply] = frames.push(bytes.subarray(0, count));
    if (reply !== undefined) return { reply: reply as Reply, object };
  }
}
