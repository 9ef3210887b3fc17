/** Fds that travel with data over a UNIX socket (SCM_RIGHTS, unix(7)). */
import { SysError } from '../errno.ts';
import { retry } from './check.ts';
import { c } from './ffi.ts';
import { vaddrOf } from './mmap.ts';
import { MSG_NOSIGNAL, SOL_SOCKET } from './unix-socket.ts';

const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SCM_RIGHTS = 1;
/** The most fds in one message: SCM_MAX_FD of Linux. */
const MAX_FDS = 253;

/**
 * A struct msghdr of 64-bit Linux, and behind it what it points to: one struct iovec, and a struct
 * cmsghdr with room for fds.
 */
const MESSAGE = { iov: 16, iovlen: 24, control: 32, controllen: 40, firstIovec: 56, cmsg: 72 };
const CMSG = { length: 0, level: 8, type: 12, fds: 16 };
const cmsgLength = (fds: number): number => CMSG.fds + 4 * fds;
const cmsgSpace = (fds: number): number => CMSG.fds + 8 * Math.ceil(fds / 2);

/**
 * Makes a struct msghdr over `data`, with room for so many fds. SAFETY: the struct points into
 * itself and into `data`; both must live until the call is over.
 */
function messageWith(data: Uint8Array, fds: number): DataView {
  const message = new Uint8Array(MESSAGE.cmsg + cmsgSpace(fds));
  const view = new DataView(message.buffer);
  const setPointer = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  const vaddr = vaddrOf(message);
  setPointer(MESSAGE.iov, vaddr + MESSAGE.firstIovec);
  setPointer(MESSAGE.iovlen, 1);
  setPointer(MESSAGE.control, vaddr + MESSAGE.cmsg);
  setPointer(MESSAGE.controllen, cmsgSpace(fds));
  setPointer(MESSAGE.firstIovec, vaddrOf(data));
  setPointer(MESSAGE.firstIovec + 8, data.length);
  return view;
}

/** Sends `data` in one go, and with it duplicates of `passed`, 253 at most. */
function sendWithFds(fd: number, data: Uint8Array, passed: readonly number[]): void {
  const message = messageWith(data, passed.length);
  message.setBigUint64(MESSAGE.cmsg + CMSG.length, BigInt(cmsgLength(passed.length)), true);
  message.setInt32(MESSAGE.cmsg + CMSG.level, SOL_SOCKET, true);
  message.setInt32(MESSAGE.cmsg + CMSG.type, SCM_RIGHTS, true);
  passed.forEach((one, i) => {
    message.setInt32(MESSAGE.cmsg + CMSG.fds + 4 * i, one, true);
  });
  const sent = retry(() => Number(c.sendmsg(fd, message, MSG_NOSIGNAL)), 'sendmsg');
  if (sent !== data.length) throw new SysError('EMSGSIZE', `sendmsg: ${sent} of ${data.length} bytes`);
}

/** Sends `data` in one go, and with it a duplicate of `passed` (SCM_RIGHTS, unix(7)). */
export const sendWithFd = (fd: number, data: Uint8Array, passed: number): void => sendWithFds(fd, data, [passed]);

export interface ReceivedFds {
  /** Bytes; 0 when the peer has closed. */
  readonly count: number;
  /** Close-on-exec, and the caller's to close. */
  readonly passed: readonly number[];
}

function recvWithFds(fd: number, into: Uint8Array, most: number): ReceivedFds {
  const message = messageWith(into, most);
  const count = retry(() => Number(c.recvmsg(fd, message, MSG_CMSG_CLOEXEC)), 'recvmsg');
  const controlLength = Number(message.getBigUint64(MESSAGE.controllen, true));
  const hasFds = controlLength > CMSG.fds && message.getInt32(MESSAGE.cmsg + CMSG.type, true) === SCM_RIGHTS;
  const bytes = hasFds ? Number(message.getBigUint64(MESSAGE.cmsg + CMSG.length, true)) - CMSG.fds : 0;
  const passed = Array.from({ length: bytes / 4 }, (_, i) => message.getInt32(MESSAGE.cmsg + CMSG.fds + 4 * i, true));
  return { count, passed };
}

/** recv(2), and the fd that came with it: close-on-exec, and the caller's to close. */
export function recvWithFd(fd: number, into: Uint8Array): { count: number; passed: number | undefined } {
  const { count, passed } = recvWithFds(fd, into, 1);
  return { count, passed: passed[0] };
}

/**
 * Sends duplicates of any number of fds. ETOOMANYREFS: too many of this user's fds are under way.
 */
export function sendFds(socket: number, fds: readonly number[]): void {
  for (let at = 0; at < fds.length; at += MAX_FDS) {
    const some = fds.slice(at, at + MAX_FDS);
    sendWithFds(socket, Uint8Array.of(some.length), some);
  }
}

/**
 * Receives as many fds as sendFds() sent: close-on-exec, and the caller's to close. EPIPE: the peer
 * has closed. EMFILE: this process may not open so many.
 */
export function recvFds(socket: number, many: number): number[] {
  const fds: number[] = [];
  while (fds.length < many) {
    const { count, passed } = recvWithFds(socket, new Uint8Array(1), MAX_FDS);
    if (count === 0) throw new SysError('EPIPE', 'no more fds come');
    if (passed.length < Math.min(MAX_FDS, many - fds.length)) {
      throw new SysError('EMFILE', `${fds.length + passed.length} of ${many} fds arrived`);
    }
    fds.push(...passed);
  }
  return fds;
}
