/**
 * A byte stream to whoever is connected to a UNIX socket, one client at a time, as QEMU's
 * `-chardev socket,server=on,wait=off`. The owner of the shared devices accepts, reads and writes,
 * and never waits. Nothing is read before somebody wants it. While nobody is connected, what is
 * written is lost, as on a line without a listener.
 */
import type { ByteStream } from '../../../devices/virtio/console.ts';
import { fd } from '../../../platform/fd-shape.ts';
import { EPOLLET, epollArm } from '../../../platform/libc/epoll.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLIN, POLLOUT } from '../../../platform/libc/poll.ts';
import { acceptNow, receiveNow, sendNow } from '../../../platform/libc/unix-socket.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { bytes, list, nullable, object, type Shaped, text } from '../../../platform/shape.ts';

/** A socket that listens at `path`. It survives an update. */
export const LISTENER_DESCRIPTION = object({ fd, path: text });

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

export class SocketStream implements ByteStream {
  readonly #listener: number;
  readonly #news: number | undefined;
  #connection: number | undefined;
  #unsent: Uint8Array = NOTHING;

  /** `news`: an epoll instance that is to hear of this socket and its connections. */
  constructor(listener: number, news: number | undefined) {
    this.#listener = listener;
    this.#news = news;
    this.#watch(listener, POLLIN);
  }

  /** Takes a client, if one waits, and sends what waits. */
  update(): void {
    if (this.#connection === undefined) this.#use(acceptNow(this.#listener));
    this.#flush();
  }

  read(into: Uint8Array): number {
    if (this.#connection === undefined) return 0;
    const count = receiveNow(this.#connection, into);
    if (count === 'closed') this.#hangUp();
    return typeof count === 'number' ? count : 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#connection === undefined) return true;
    if (this.#unsent.length >= HIGH_WATER) return false;
    this.#unsent = this.#unsent.length === 0 ? bytes.slice() : Buffer.concat([this.#unsent, bytes]);
    this.#flush();
    return true;
  }

  /** Sends what the socket takes now; returns how many bytes that are: 0 if there is no room. */
  send(bytes: Uint8Array): number {
    if (this.#connection === undefined) return bytes.length;
    if (this.#unsent.length > 0) return 0;
    const count = sendNow(this.#connection, bytes);
    if (count !== 'closed') return count;
    this.#hangUp();
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
    if (count === 'closed') this.#hangUp();
    else this.#unsent = this.#unsent.subarray(count);
  }

  #hangUp(): void {
    if (this.#connection !== undefined) close(this.#connection);
    this.#connection = undefined;
    this.#unsent = NOTHING;
  }
}
