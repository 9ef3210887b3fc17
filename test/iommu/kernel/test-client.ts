/**
 * A client of the host kernel's socket that does not block: for tests whose process is the host
 * too. Speaks wire.ts and nothing more; every answer is given back whole, errno included.
 */
import { connect, type Socket } from 'node:net';

import type { ControlReplies, ControlRequest } from '../../../iommu/abi/control.ts';
import { DEVICE_FD_PATH, type Reply } from '../../../iommu/abi/wire.ts';
import { errnoName } from '../../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../../platform/frames.ts';
import { handleFd } from '../../../platform/handle-fd.ts';
import { gettid } from '../../../platform/libc/this-process.ts';

export class Connection {
  readonly socket: Socket;
  readonly #reader = new FrameReader();
  readonly #waiting: ((reply: Reply | 'hung up') => void)[] = [];
  /** Resolves when the host has hung up, or we have. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      for (const frame of this.#reader.push(chunk)) this.#waiting.shift()?.(frame as Reply);
    });
    socket.on('error', () => undefined); // 'close' follows
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        for (const answer of this.#waiting.splice(0)) answer('hung up');
        resolve();
      });
    });
  }

  static to(socketPath: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(socketPath);
      const connection = new Connection(socket);
      socket.once('connect', () => resolve(connection));
      socket.once('error', reject);
    });
  }

  get fd(): number {
    return handleFd(this.socket)!;
  }

  /** Sends a frame; what came back, or 'hung up'. */
  ask(message: unknown): Promise<Reply | 'hung up'> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.socket.write(encodeFrame(message));
    });
  }
}

export class TestClient {
  readonly #socketPath: string;
  readonly channel: Connection;
  readonly #files = new Map<number, Connection>();

  private constructor(socketPath: string, channel: Connection) {
    this.#socketPath = socketPath;
    this.channel = channel;
  }

  static async connect(socketPath: string): Promise<TestClient> {
    const client = new TestClient(socketPath, await Connection.to(socketPath));
    await client.request({ task: gettid() });
    return client;
  }

  /** The reply to a frame on the task channel. */
  async request(message: unknown): Promise<Reply> {
    const reply = await this.channel.ask(message);
    if (reply === 'hung up') throw new Error('the host has hung up');
    return reply;
  }

  /** open(2): a fd, or −errno. */
  async open(path: string, token?: number): Promise<number> {
    const file = await Connection.to(this.#socketPath);
    const hello = { open: path, fd: file.fd, ...(token === undefined ? {} : { token }) };
    const reply = await file.ask(hello);
    if (reply === 'hung up') throw new Error('the host has hung up');
    if (reply.ret < 0) return reply.ret;
    this.#files.set(file.fd, file);
    return file.fd;
  }

  /** ioctl(2); a fd where the kernel gives one. Bytes are written back into `arg`. */
  async ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Promise<number> {
    const { ret, out, token } = await this.request({ op: 'ioctl', fd, nr, arg });
    if (out && arg instanceof Uint8Array) arg.set(out);
    return token === undefined ? ret : this.open(DEVICE_FD_PATH, token);
  }

  /** The data, or −errno. */
  async pread(fd: number, offset: number | bigint, length: number): Promise<Uint8Array | number> {
    const { ret, out } = await this.request({ op: 'pread', fd, offset, length });
    return out ?? ret;
  }

  async pwrite(fd: number, offset: number | bigint, data: Uint8Array): Promise<number> {
    return (await this.request({ op: 'pwrite', fd, offset, data })).ret;
  }

  async control<R extends ControlRequest>(fd: number, request: R): Promise<ControlReplies[R['op']]> {
    const { ret, reply, message } = await this.request({ op: 'control', fd, request });
    if (ret < 0) throw new Error(`${name(ret)}: ${message}`);
    return reply as ControlReplies[R['op']];
  }

  /** close(2) of one of our fds, without a word to the host. */
  async drop(fd: number): Promise<void> {
    this.#files.get(fd)?.socket.destroy();
    this.#files.delete(fd);
    // destroy() closes the fd in the next turn
    await new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * close(2) as the client library does it: the host has released what it had to when this
   * resolves.
   */
  async close(fd: number): Promise<void> {
    await this.drop(fd);
    await this.request({ op: 'sync' });
  }

  /** The end of this process as the host sees it. */
  async disconnect(): Promise<void> {
    for (const file of this.#files.values()) file.socket.destroy();
    this.channel.socket.destroy();
    await this.channel.closed;
  }
}

/** '0', '3', '-EINVAL': a return value as tests write it. */
export const name = (ret: number): string => (ret < 0 ? `-${errnoName(-ret)}` : `${ret}`);
