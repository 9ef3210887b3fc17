/** A fd that travels with data over a UNIX socket (SCM_RIGHTS, unix(7)). */
import { SysError } from '../errno.ts';
import { retry } from './check.ts';
import { c } from './ffi.ts';
import { vaddrOf } from './mmap.ts';
import { MSG_NOSIGNAL, SOL_SOCKET } from './unix-socket.ts';

const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SCM_RIGHTS = 1;

/**
 * A struct msghdr of 64-bit Linux, and behind it what it points to: one struct iovec, and a struct
 * cmsghdr with room for one fd.
 */
const MESSAGE = { iov: 16, iovlen: 24, control: 32, controllen: 40, firstIovec: 56, cmsg: 72, size: 96 };
const CMSG = { level: 8, type: 12, fd: 16, length: 20, space: 24 };

/**
 * Makes a struct msghdr over `data`. SAFETY: the struct points into itself and into `data`; both
 * must live until the call is over.
 */
function messageWith(data: Uint8Array): DataView {
  const message = new Uint8Array(MESSAGE.size);
  const view = new DataView(message.buffer);
  const setPointer = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  const vaddr = vaddrOf(message);
  setPointer(MESSAGE.iov, vaddr + MESSAGE.firstIovec);
  setPointer(MESSAGE.iovlen, 1);
  setPointer(MESSAGE.control, vaddr + MESSAGE.cmsg);
  setPointer(MESSAGE.controllen, CMSG.space);
  setPointer(MESSAGE.firstIovec, vaddrOf(data));
  setPointer(MESSAGE.firstIovec + 8, data.length);
  return view;
}

/** Sends `data` in one go, and with it a duplicate of `passed` (SCM_RIGHTS, unix(7)). */
export function sendWithFd(fd: number, data: Uint8Array, passed: number): void {
  const message = messageWith(data);
  message.setBigUint64(MESSAGE.cmsg, BigInt(CMSG.length), true);
  message.setInt32(MESSAGE.cmsg + CMSG.level, SOL_SOCKET, true);
  message.setInt32(MESSAGE.cmsg + CMSG.type, SCM_RIGHTS, true);
  message.setInt32(MESSAGE.cmsg + CMSG.fd, passed, true);
  const sent = retry(() => Number(c.sendmsg(fd, message, MSG_NOSIGNAL)), 'sendmsg');
  if (sent !== data.length) throw new SysError('EMSGSIZE', `sendmsg: ${sent} of ${data.length} bytes`);
}

export interface ReceivedFd {
  /** Bytes; 0 when the peer has closed. */
  readonly count: number;
  /** Close-on-exec, and the caller's to close. */
  readonly passed: number | undefined;
}

/** recv(2), and the fd that came with it. */
export function recvWithFd(fd: number, into: Uint8Array): ReceivedFd {
  const message = messageWith(into);
  const count = retry(() => Number(c.recvmsg(fd, message, MSG_CMSG_CLOEXEC)), 'recvmsg');
  const length = message.getBigUint64(MESSAGE.controllen, true);
  const hasFd = length >= BigInt(CMSG.length) && message.getInt32(MESSAGE.cmsg + CMSG.type, true) === SCM_RIGHTS;
  return { count, passed: hasFd ? message.getInt32(MESSAGE.cmsg + CMSG.fd, true) : undefined };
}
