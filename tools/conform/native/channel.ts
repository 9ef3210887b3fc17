/**
 * Channels to the threads of a native client (client.c). Each is a connection to our socket: it
 * begins with a hello, `struct hello`; then the thread answers one request after the other.
 */
import { createServer, type Server, type Socket } from 'node:net';

import { fromErrno } from '../../../platform/errno.ts';

/** In bytes: `struct hello`, `struct reply`, and the name with which `struct request` begins. */
const HELLO = 24;
const REPLY = 16;
const OP = 16;
const REQUEST_WORDS = 9;
const ARGS = 6;

type Argument = number | bigint;

/** The memory of a request. */
export interface RequestMemory {
  readonly vaddr: number;
  /** What lies there before the call. */
  readonly data?: Uint8Array;
  /** What lies there after the call goes into this array. */
  readonly into?: Uint8Array;
}

/** Bytes as they arrive, taken in pieces. */
class Incoming {
  #bytes: Buffer = Buffer.alloc(0);
  #wanted: { readonly length: number; readonly take: (bytes: Buffer) => void } | undefined;

  add(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#serve();
  }

  /** One taker at a time. The bytes may never come: the connection's end tells nobody here. */
  take(length: number): Promise<Buffer> {
    return new Promise((take) => {
      this.#wanted = { length, take };
      this.#serve();
    });
  }

  #serve(): void {
    const wanted = this.#wanted;
    if (!wanted || this.#bytes.length < wanted.length) return;
    const taken = this.#bytes.subarray(0, wanted.length);
    this.#bytes = this.#bytes.subarray(wanted.length);
    this.#wanted = undefined;
    wanted.take(taken);
  }
}

/** A thread of the client. */
export class NativeThread {
  readonly pid: number;
  readonly tid: number;
  readonly #socket: Socket;
  readonly #incoming: Incoming;
  #last: Promise<unknown> = Promise.resolve();

  constructor(socket: Socket, incoming: Incoming, pid: number, tid: number) {
    this.pid = pid;
    this.tid = tid;
    this.#socket = socket;
    this.#incoming = incoming;
  }

  /**
   * The result of a call; its errno is thrown. A call from which the thread does not come back
   * (exec) has no result.
   */
  async call(op: string, args: readonly Argument[] = [], memory?: RequestMemory): Promise<number> {
    const ret = await this.request(op, args, memory);
    if (ret < 0) throw fromErrno(-ret, op);
    return ret;
  }

  /** The number that the thread answers with. Requests follow each other. */
  request(op: string, args: readonly Argument[] = [], memory?: RequestMemory): Promise<number> {
    const answer = this.#last.then(() => this.#request(op, args, memory));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #request(
    op: string,
    args: readonly Argument[],
    { vaddr, data, into }: Partial<RequestMemory> = {},
  ): Promise<number> {
    const padded = [...args, ...Array<Argument>(ARGS - args.length).fill(0)];
    const words = [...padded, vaddr ?? 0, data?.length ?? 0, into?.length ?? 0];
    const header = Buffer.alloc(OP + 8 * REQUEST_WORDS);
    header.write(op, 'latin1');
    for (const [i, word] of words.entries()) header.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word)), OP + 8 * i);
    this.#socket.write(header);
    if (data) this.#socket.write(data);
    const reply = await this.#incoming.take(REPLY + (into?.length ?? 0));
    into?.set(reply.subarray(REPLY));
    return Number(reply.readBigInt64LE(0));
  }
}

/** The socket that the threads of one client connect to. */
export class NativeThreads {
  readonly #server: Server;
  readonly #greeted = new Map<number, (thread: NativeThread) => void>();
  readonly #waiting = new Map<number, NativeThread>();
  readonly #sockets: Socket[] = [];
  #nextToken = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => void this.#hello(socket));
  }

  static listen(path: string): NativeThreads {
    return new NativeThreads(createServer().listen(path));
  }

  /** A number for the hello of a thread that begins. The first one is 0. */
  newToken(): number {
    return this.#nextToken++;
  }

  /** The thread with this token, when it has said hello. */
  arrival(token: number): Promise<NativeThread> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(token);
      if (waiting) resolve(waiting);
      else this.#greeted.set(token, resolve);
    });
  }

  async #hello(socket: Socket): Promise<void> {
    const incoming = new Incoming();
    this.#sockets.push(socket);
    socket.on('error', () => {}); // the thread was killed
    socket.on('data', (chunk) => incoming.add(chunk));
    const hello = await incoming.take(HELLO);
    const [token, pid, tid] = [0, 8, 16].map((at) => Number(hello.readBigUInt64LE(at))) as [number, number, number];
    const thread = new NativeThread(socket, incoming, pid, tid);
    this.#waiting.set(token, thread);
    this.#greeted.get(token)?.(thread);
  }

  /** Nobody can connect any more, and the client's threads end. The socket's file is gone. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
