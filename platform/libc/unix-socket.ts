/** UNIX stream sockets (unix(7)). */
import { SysError } from '../errno.ts';
import { check, EAGAIN, EINTR, retry } from './check.ts';
import { c, lastErrno } from './ffi.ts';

export const AF_UNIX = 1;
const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
const BACKLOG = 511; // Node's
export const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_DONTWAIT = 0x40;
const MSG_PEEK = 0x02;

/** sun_path holds 108 bytes with its NUL (unix(7)). */
export const MAX_SOCKET_PATH = 107;

/** A struct sockaddr_un. ENAMETOOLONG for a path over 107 bytes. */
export function unixAddress(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length > MAX_SOCKET_PATH) {
    throw new SysError('ENAMETOOLONG', `${path}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
  }
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  return address;
}

/**
 * Makes a close-on-exec UNIX stream socket and calls `use` with it and the address of `path`.
 * Returns the fd, which is closed if `use` throws.
 */
function unixSocket(path: string, flags: number, use: (fd: number, address: Buffer) => void): number {
  const address = unixAddress(path);
  const fd = check(c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), 'socket');
  try {
    use(fd, address);
  } catch (error) {
    c.close(fd);
    throw error;
  }
  return fd;
}

/**
 * A blocking, close-on-exec UNIX stream socket connected to `path`. ENAMETOOLONG for a path over
 * 107 bytes.
 */
export function connectUnix(path: string): number {
  return unixSocket(path, 0, (fd, address) => {
    retry(() => c.connect(fd, address, address.length), `connect ${path}`);
  });
}

/** As connectUnix, but never waits: EAGAIN when a process listens and its queue is full. */
export function connectUnixNow(path: string): number {
  return unixSocket(path, SOCK_NONBLOCK, (fd, address) => {
    check(c.connect(fd, address, address.length), `connect ${path}`);
  });
}

/**
 * A close-on-exec UNIX stream socket that listens at `path`. The socket file gets mode `mode`.
 * EADDRINUSE if the path exists.
 */
export function bindUnix(path: string, mode: number): number {
  return unixSocket(path, 0, (fd, address) => {
    check(c.bind(fd, address, address.length), `bind ${path}`);
    check(c.chmod(path, mode), `chmod ${path}`); // whatever the umask is; nobody can connect yet
    check(c.listen(fd, BACKLOG), `listen ${path}`);
  });
}

/**
 * A close-on-exec UNIX stream socket that listens under a name that is no path (unix(7), "abstract
 * sockets"). It goes with its last fd. Any user may connect: peerCredentials tells who has. To
 * connect, `\0` stands before the name. EADDRINUSE.
 */
export function listenAbstract(name: string): number {
  return unixSocket(`\0${name}`, 0, (fd, address) => {
    check(c.bind(fd, address, address.length), `bind @${name}`);
    check(c.listen(fd, BACKLOG), `listen @${name}`);
  });
}

/** socketpair(2): two connected, close-on-exec UNIX stream sockets. EMFILE. */
export function socketPair(): readonly [number, number] {
  const fds = new Int32Array(2);
  check(c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 'socketpair');
  return [fds[0]!, fds[1]!];
}

/** Sends all of `buf`; EPIPE when the peer is gone (never SIGPIPE). */
export function sendAll(fd: number, buf: Uint8Array): void {
  let sent = 0;
  while (sent < buf.length) {
    const rest = sent === 0 ? buf : buf.subarray(sent);
    sent += retry(() => Number(c.send(fd, rest, rest.length, MSG_NOSIGNAL)), 'send');
  }
}

/** recv(2); number of bytes, 0 when the peer has closed. */
export function recv(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.recv(fd, buf, buf.length, 0)), 'recv');
}

/** accept4(2): a close-on-exec socket that never waits; undefined: nobody wants to connect. */
export function acceptNow(listener: number): number | undefined {
  const fd = c.accept4(listener, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  return fd < 0 ? undefined : fd; // also for want of fds: the client waits in the queue
}

/** recv(2) without waiting: the number of bytes, 0 for none now, or that the peer has closed. */
export function receiveNow(fd: number, into: Uint8Array): number | 'closed' {
  for (;;) {
    const count = Number(c.recv(fd, into, into.length, MSG_DONTWAIT));
    if (count > 0) return count;
    const errno = count === 0 ? 0 : lastErrno();
    if (errno !== EINTR) return errno === EAGAIN ? 0 : 'closed';
  }
}

/** As receiveNow, but the bytes stay in the socket. */
export function peekNow(fd: number, into: Uint8Array): number | 'closed' {
  for (;;) {
    const count = Number(c.recv(fd, into, into.length, MSG_DONTWAIT | MSG_PEEK));
    if (count > 0) return count;
    const errno = count === 0 ? 0 : lastErrno();
    if (errno !== EINTR) return errno === EAGAIN ? 0 : 'closed';
  }
}

/** send(2) without waiting: how many bytes it took, or that the peer has closed. */
export function sendNow(fd: number, bytes: Uint8Array): number | 'closed' {
  for (;;) {
    const count = Number(c.send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (count >= 0) return count;
    const errno = lastErrno();
    if (errno !== EINTR) return errno === EAGAIN ? 0 : 'closed';
  }
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED: the process that connected this UNIX socket (pid as of connect time). */
export function peerCredentials(fd: number): PeerCredentials {
  const value = new Int32Array(3);
  const length = new Uint32Array([12]);
  check(c.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length), 'SO_PEERCRED');
  return { pid: value[0]!, uid: value[1]!, gid: value[2]! };
}
