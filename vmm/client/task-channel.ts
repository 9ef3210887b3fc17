/**
 * A task channel is one thread's way into the host kernel: requests and answers on a connected
 * socket (iommu/abi/wire.ts), by Node's own blocking reads and writes. The file uses no FFI, so a
 * vCPU thread that only drives open devices need not load any. Its start is then 8 ms shorter, and
 * after an update main runs the guest until the thread has started.
 */
import { readSync, writeSync } from 'node:fs';
import { CallPageClient, type Passed } from '../../iommu/abi/call-page.ts';
import type { Hello, Reply, Request } from '../../iommu/abi/wire.ts';
import { MAX_BATCH, MAX_TRANSFER } from '../../iommu/abi/wire.ts';
import { errnoName, SysError } from '../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../platform/frames.ts';
import { hex } from '../../platform/hex.ts';
import type { SharedPart } from '../../platform/shared.ts';

const RECEIVE_BYTES = 65536;

/**
 * Sends one frame on a blocking socket and waits for its answer. Throws the errno of the kernel;
 * EPIPE when no answer comes.
 */
export class Conversation {
  readonly #socket: number;
  readonly #frames = new FrameReader();
  readonly #received = new Uint8Array(RECEIVE_BYTES);

  constructor(socket: number) {
    this.#socket = socket;
  }

  ask(message: Hello | Request, what: string): Reply {
    return succeeded(this.exchange(message), what);
  }

  /** Returns the answer, also when it is a refusal. */
  exchange(message: Hello | Request): Reply {
    this.send(message);
    return this.receive();
  }

  /** One frame; `receive` gets its answer. */
  send(message: Hello | Request): void {
    const frame = encodeFrame(message);
    untilHungUp(() => {
      for (let sent = 0; sent < frame.length; ) sent += writeSync(this.#socket, frame, sent);
    });
  }

  /**
   * Waits for an answer. It is read also when the host has hung up: a host without room for us says
   * so before it has read anything.
   */
  receive(): Reply {
    const reply = untilHungUp(() => this.#receive());
    // no emulated call returns EPIPE
    if (reply === undefined) throw new SysError('EPIPE', 'the host is gone');
    return reply;
  }

  #receive(): Reply | undefined {
    for (;;) {
      const count = readSome(this.#socket, this.#received);
      if (count === 0) return undefined;
      const [reply] = this.#frames.push(this.#received.subarray(0, count));
      if (reply !== undefined) return reply as Reply;
    }
  }
}

/** Returns undefined when the peer hangs up meanwhile. */
function untilHungUp<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPIPE' && code !== 'ECONNRESET') throw error;
    return undefined;
  }
}

/** Throws the errno of a refusal. */
export function succeeded(reply: Reply, what: string): Reply {
  if (reply.ret >= 0) return reply;
  const code = errnoName(-reply.ret);
  throw new SysError(code, `${what}: ${reply.message ?? code}`);
}

/** The ioctl's name, if the file knows one; else its number. */
const callName = ({ call }: Reply, nr: number): string => call ?? `ioctl ${hex(nr)}`;

function readSome(fd: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error;
    }
  }
}

/**
 * System calls on open files. KernelClient and TaskChannel both have them, and the functions of
 * this folder take either.
 */
export interface FileCalls {
  /**
   * ioctl(2). Bytes are a struct, which the kernel may write back into, also when it refuses. A
   * number is passed by value.
   */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): number;
  /**
   * `ioctl(fd, nr, &args[i])` for each struct of `size` bytes in `args`, in order, in as few
   * requests as possible: MAP_DMA takes 5 µs instead of 50. Throws the errno of the first that
   * fails; the calls before it have been carried out, the calls after it have not.
   */
  ioctls(fd: number, nr: number, args: Uint8Array, size: number): void;
  /** pread(2); bytes read. */
  pread(fd: number, offset: number | bigint, into: Uint8Array): number;
  /** pwrite(2); bytes written. */
  pwrite(fd: number, offset: number | bigint, data: Uint8Array): number;
  /** This thread's register page of a device; undefined where the kernel gives none. */
  registerPage?(device: number): SharedPart | undefined;
}

/** Waits for the end of a call, and returns what that returns; throws the errno of a refusal. */
export type Posted = () => number;

/** A channel with so many calls behind it asks for a call page. */
const BUSY_CALLS = 64;

/** One thread's channel into the kernel, on a socket that has said its hello. */
export class TaskChannel implements FileCalls {
  readonly #conversation: Conversation;
  readonly #getPage: (() => SharedPart | undefined) | undefined;
  #page: CallPageClient | undefined;
  #calls = 0;
  /** Takes the answer to the call that was posted; undefined: there is none under way. */
  #settle: (() => void) | undefined;

  /** `getPage` asks the kernel for a call page; it is called once, when the channel is busy. */
  constructor(socket: number, getPage?: () => SharedPart | undefined) {
    this.#conversation = new Conversation(socket);
    this.#getPage = getPage;
  }

  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): number {
    return this.ioctlReply(fd, nr, arg).ret;
  }

  /**
   * ioctl(2) in two steps: the kernel makes the call while this thread does something else. The
   * next call of this thread waits for its end.
   */
  post(fd: number, nr: number, arg: Uint8Array): Posted {
    this.#settle?.();
    this.#conversation.send({ op: 'ioctl', fd, nr, arg });
    return this.#posted((reply) => {
      if (reply.out) arg.set(reply.out);
      return succeeded(reply, callName(reply, nr)).ret;
    });
  }

  /** As `ioctls`, in two steps; MAX_BATCH structs at most. */
  postAll(fd: number, nr: number, args: Uint8Array, size: number): Posted {
    this.#settle?.();
    this.#conversation.send({ op: 'ioctls', fd, nr, size, args });
    return this.#posted((reply) => {
      if (reply.out) args.set(reply.out);
      return succeeded(reply, `${callName(reply, nr)}, ${(reply.done ?? 0) + 1} of ${args.length / size}`).ret;
    });
  }

  #posted(take: (reply: Reply) => number): Posted {
    let answer: Reply | undefined;
    const settle = (): void => {
      this.#settle = undefined;
      answer = this.#conversation.receive();
    };
    this.#settle = settle;
    return () => {
      if (!answer) settle();
      return take(answer!);
    };
  }

  /** ioctl(2); returns the kernel's whole answer. */
  ioctlReply(fd: number, nr: number, arg: number | bigint | Uint8Array): Reply {
    this.#settle?.();
    const reply =
      this.#byPage(this.#busyPage()?.ioctl(fd, nr, arg), arg instanceof Uint8Array ? arg : undefined) ??
      this.#conversation.exchange({ op: 'ioctl', fd, nr, arg });
    if (reply.out && arg instanceof Uint8Array) arg.set(reply.out);
    return succeeded(reply, callName(reply, nr));
  }

  ioctls(fd: number, nr: number, args: Uint8Array, size: number): void {
    this.#settle?.();
    const total = args.length / size;
    for (let first = 0; first < total; first += MAX_BATCH) {
      const some = args.subarray(first * size, (first + MAX_BATCH) * size);
      const reply = this.#conversation.exchange({ op: 'ioctls', fd, nr, size, args: some });
      if (reply.out) some.set(reply.out);
      succeeded(reply, `${callName(reply, nr)}, ${first + (reply.done ?? 0) + 1} of ${total}`);
    }
  }

  pread(fd: number, offset: number | bigint, into: Uint8Array): number {
    this.#settle?.();
    const length = Math.min(into.length, MAX_TRANSFER);
    const reply = this.#byPage(this.#busyPage()?.pread(fd, offset, length), into);
    const { ret, out } = reply ? succeeded(reply, 'pread') : this.request({ op: 'pread', fd, offset, length }, 'pread');
    if (out) into.set(out);
    return ret;
  }

  pwrite(fd: number, offset: number | bigint, data: Uint8Array): number {
    this.#settle?.();
    const reply = this.#byPage(this.#busyPage()?.pwrite(fd, offset, data), undefined);
    if (reply) return succeeded(reply, 'pwrite').ret;
    return this.request({ op: 'pwrite', fd, offset, data: data.subarray(0, MAX_TRANSFER) }, 'pwrite').ret;
  }

  #busyPage(): CallPageClient | undefined {
    if (this.#page || this.#calls++ !== BUSY_CALLS) return this.#page;
    const page = this.#getPage?.();
    if (page) this.#page = new CallPageClient(page);
    return this.#page;
  }

  /**
   * The answer to a call that the kernel took from the page, with the result copied to `into`.
   * Undefined: it did not take the call.
   */
  #byPage(passed: Passed | undefined, into: Uint8Array | undefined): Reply | undefined {
    const page = this.#page;
    if (!page || passed === undefined || passed === 'refused') return undefined;
    if (passed === 'by-socket') {
      const reply = this.#conversation.receive();
      page.free();
      return reply;
    }
    if (into) page.takeOut(into);
    const { ret } = page;
    page.free();
    return { ret };
  }

  /** Makes any request; `what` names it in the message of a refusal. */
  request(request: Request, what: string): Reply {
    this.#settle?.();
    return this.#conversation.ask(request, what);
  }
}
