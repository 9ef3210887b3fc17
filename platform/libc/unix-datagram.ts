/**
 * UNIX datagram sockets (unix(7)): a datagram arrives whole and in order. It waits in the
 * receiver's socket; when that is full, the sender is told. These calls never wait.
 */
import { fromErrno, type SysError } from '../errno.ts';
import { check, EAGAIN, EINTR } from './check.ts';
import { close } from './fd.ts';
import { c, lastErrno } from './ffi.ts';
import { AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, unixAddress } from './unix-socket.ts';

const SOCK_DGRAM = 2;

const datagramSocket = (): number => check(c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket');

/** A close-on-exec socket at `path`, with this mode. EADDRINUSE if the path exists. */
export function bindDatagram(path: string, mode: number): number {
  const address = unixAddress(path);
  const fd = datagramSocket();
  try {
    check(c.bind(fd, address, address.length), `bind ${path}`);
    check(c.chmod(path, mode), `chmod ${path}`); // whatever the umask is
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

/** Whether a process has the datagram socket at `path`. EACCES, EPROTOTYPE: no datagram socket. */
export function isBoundDatagram(path: string): boolean {
  const address = unixAddress(path);
  const fd = datagramSocket();
  try {
    check(c.connect(fd, address, address.length), `connect ${path}`);
    return true;
  } catch (error) {
    const { code } = error as SysError;
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw error;
  } finally {
    close(fd);
  }
}

/**
 * Sends a datagram to `address` (unixAddress). `full`: the receiver has not taken earlier ones.
 * `lost`: nobody receives there, or not this.
 */
export function sendDatagram(fd: number, datagram: Uint8Array, address: Uint8Array): 'sent' | 'full' | 'lost' {
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  for (;;) {
    if (Number(c.sendto(fd, datagram, datagram.length, flags, address, address.length)) >= 0) return 'sent';
    const errno = lastErrno();
    if (errno === EAGAIN) return 'full';
    if (errno !== EINTR) return 'lost';
  }
}

/** Takes the next datagram; returns its length, at most `into`'s; undefined: there is none. */
export function receiveDatagram(fd: number, into: Uint8Array): number | undefined {
  for (;;) {
    const count = Number(c.recv(fd, into, into.length, MSG_DONTWAIT));
    if (count >= 0) return count;
    const errno = lastErrno();
    if (errno === EAGAIN) return undefined;
    if (errno !== EINTR) throw fromErrno(errno, 'recv');
  }
}
