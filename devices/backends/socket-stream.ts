/**
 * A byte stream by a UNIX socket, as QEMU's `-chardev socket`: to whoever connects, one client at a
 * time (`server=on,wait=off`), or to the one server that we connect to (`server=off`). The owner of
 * the shared devices accepts or connects, reads and writes, and never waits. Nothing is read before
 * somebody wants it. While there is no connection, what is written is lost, as on a line without a
 * listener.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { SysError } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { EPOLLET, epollArm } from '../../platform/libc/epoll.ts';
import { close } from '../../platform/libc/fd.ts';
import { POLLIN, POLLOUT, POLLRDHUP, poll } from '../../platform/libc/poll.ts';
import { acceptNow, connectUnixNow, peekNow, receiveNow, sendNow } from '../../platform/libc/unix-socket.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { bytes, integer, list, nullable, object, type Shaped, text } from '../../platform/shape.ts';
import type { ByteStream } from '../virtio/console.ts';

/** A socket that listens at `path`; it survives an update. */
export const LISTENER_DESCRIPTION_1 = object({ fd, path: text });

export const LISTENER_DESCRIPTION = object({
  /** null: another process listens at `path`. */
  fd: nullable(fd),
  path: text,
  /** With no fd: so long after a connection was lost, or refused, the next is tried. 0: never. */
  reconnectMs: integer,
});

export type ListenerDescription = Shaped<typeof LISTENER_DESCRIPTION>;

const STREAM_STATE = object({
  connection: nullable(fd),
  /** Bytes that the guest has sent and the socket has not taken. */
  unsent: bytes,
});

/** In the order of the listeners. */
export const STREAMS_SECTION = defineSection('streams', 1, { streams: list(STREAM_STATE) });

export type StreamsState = StateOf<typeof STREAMS_SECTION>;
export type StreamState = StreamsState['streams'][number];

/** While so many bytes wait here, there is no room. */
const HIGH_WATER = 65_536;
const NOTHING = new Uint8Array();

/** The other side sends nothing more; what it has sent may still wait here. */
const hasEnded = (connection: number): boolean => poll([{ fd: connection, events: POLLRDHUP }], 0) !== undefined;

const nowMs = (): number => monotonicNs() / 1e6;

export class SocketStream implements ByteStream {
  readonly #end: ListenerDescription;
  readonly #news: number | undefined;
  #connection: number | undefined;
  #unsent: Uint8Array = NOTHING;
  /** When to connect: CLOCK_MONOTONIC, ms. */
  #dueAt = 0;
  /** A client has gone, and the next one may have come before: no news tells of that. */
  #mayWait = false;

  /** `news`: an epoll instance that is to hear of this socket and its connections. */
  constructor(end: ListenerDescription, news: number | undefined) {
    this.#end = end;
    this.#news = news;
    if (end.fd !== null) this.#watch(end.fd, POLLIN);
  }

  /** Takes a client, if one waits, or connects, and sends what waits. */
  update(): void {
    const { fd } = this.#end;
    if (this.#connection === undefined) this.#use(fd === null ? this.#connect() : this.#accept(fd));
    this.#flush();
  }

  /** Milliseconds until it wants to connect, or to look for a client; undefined: it does not. */
  dueMs(): number | undefined {
    const { fd, reconnectMs } = this.#end;
    if (this.#connection !== undefined) return undefined;
    if (fd !== null) return this.#mayWait ? 0 : undefined;
    if (this.#dueAt === 0) return 0; // the first attempt
    return reconnectMs === 0 ? undefined : Math.max(0, this.#dueAt - nowMs());
  }

  #accept(listener: number): number | undefined {
    this.#mayWait = false;
    return acceptNow(listener);
  }

  /** Nobody there is no error: the next attempt comes when it is due. */
  #connect(): number | undefined {
    if (this.dueMs() !== 0) return undefined;
    this.#dueAt = nowMs() + this.#end.reconnectMs;
    try {
      return connectUnixNow(this.#end.path);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return undefined;
    }
  }

  /**
   * The next bytes, which stay there; 0: there are not so many now. If there never will be, because
   * the other side has ended in the midst of them, the connection ends.
   */
  peek(into: Uint8Array): number {
    if (this.#connection === undefined) return 0;
    const count = peekNow(this.#connection, into);
    if (count === into.length) return count;
    if (count === 0 || (count !== 'closed' && !hasEnded(this.#connection))) return 0;
    // they may have come between the look at them and the look for the end
    if (peekNow(this.#connection, into) === into.length) return into.length;
    this.hangUp();
    return 0;
  }

  read(into: Uint8Array): number {
    if (this.#connection === undefined) return 0;
    const count = receiveNow(this.#connection, into);
    if (count === 'closed') this.hangUp();
    return typeof count === 'number' ? count : 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#connection === undefined) return true;
    if (this.#unsent.length >= HIGH_WATER) return false;
    this.#unsent = this.#unsent.length === 0 ? Uint8Array.from(bytes) : Buffer.concat([this.#unsent, bytes]);
    this.#flush();
    return true;
  }

  /** Sends what the socket takes now; returns how many bytes that are: 0 if there is no room. */
  send(bytes: Uint8Array): number {
    if (this.#connection === undefined) return bytes.length;
    if (this.#unsent.length > 0) return 0;
    const count = sendNow(this.#connection, bytes);
    if (count !== 'closed') return count;
    this.hangUp();
    return bytes.length;
  }

  save(): StreamState {
    return { connection: this.#connection ?? null, unsent: this.#unsent };
  }

  restore({ connection, unsent }: StreamState): void {
    this.#unsent = unsent;
    this.#use(connection ?? undefined);
  }

  #use(connection: number | undefined): void {
    this.#connection = connection;
    if (connection !== undefined) this.#watch(connection, POLLIN | POLLOUT);
  }

  #watch(fd: number, events: number): void {
    if (this.#news !== undefined) epollArm(this.#news, fd, events | EPOLLET);
  }

  #flush(): void {
    if (this.#connection === undefined || this.#unsent.length === 0) return;
    const count = sendNow(this.#connection, this.#unsent);
    if (count === 'closed') this.hangUp();
    else this.#unsent = this.#unsent.subarray(count);
  }

  /** Ends the connection, if there is one. */
  hangUp(): void {
    if (this.#connection !== undefined) close(this.#connection);
    this.#connection = undefined;
    this.#unsent = NOTHING;
    this.#mayWait = true;
    this.#dueAt = nowMs() + this.#end.reconnectMs;
  }
}
