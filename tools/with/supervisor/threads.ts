/**
 * The program's threads that have entered the emulated kernel. Each has a task channel
 * (iommu/abi/wire.ts) until it ends or its process becomes another image.
 */
import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import { codeOf, SysError } from '../../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../../platform/frames.ts';
import { close } from '../../../platform/libc/fd.ts';
import { pidfdOpen, pidfdOpenThread } from '../../../platform/libc/other-process.ts';
import { connectUnix, recv, sendAll } from '../../../platform/libc/unix-socket.ts';
import { processOf } from '../../../platform/process-status.ts';
import { Conversation } from '../../../vmm/client/task-channel.ts';
import { ThreadPage, ThreadPages } from './thread-page.ts';

const RECEIVE_BYTES = 65536;
const received = new Uint8Array(RECEIVE_BYTES);

/** A thread's way into the kernel. */
export class ProgramThread {
  readonly tid: number;
  readonly pid: number;
  /** Readable when the thread (before Linux 6.9: its process) has ended. */
  readonly pidfd: number;
  /** The channel; readable when the reply comes. */
  readonly socket: number;
  readonly #frames = new FrameReader();
  readonly #page: ThreadPage | undefined;

  /** ESRCH: the thread is gone. Other errors are the host's, or say that there is none. */
  constructor(socketPath: string, tid: number, pid: number, pages: ThreadPages) {
    this.tid = tid;
    this.pid = pid;
    this.pidfd = pidfdOf(tid, pid);
    try {
      this.socket = connectUnix(socketPath);
    } catch (error) {
      close(this.pidfd);
      throw error;
    }
    try {
      const { pages: hasPages } = new Conversation(this.socket).ask({ task: tid, pid }, `thread ${tid}`);
      if (hasPages) this.#page = new ThreadPage(this.socket, pages);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Makes a request. Returns the reply if there is one at once; else it comes by receive(). */
  send(request: Request): Reply | undefined {
    const passed = this.#page?.pass(request) ?? 'refused';
    if (passed === 'refused') sendAll(this.socket, encodeFrame(request));
    return typeof passed === 'object' ? passed : undefined;
  }

  /**
   * The reply, if it has come whole. EPIPE: the host is gone. Call it when the socket is readable.
   */
  receive(): Reply | undefined {
    let count: number;
    try {
      count = recv(this.socket, received);
    } catch (error) {
      if (codeOf(error) !== 'ECONNRESET') throw error;
      count = 0;
    }
    if (count === 0) throw new SysError('EPIPE', 'the host is gone');
    // a copy: what is decoded lies in it
    const reply = this.#frames.push(received.slice(0, count))[0] as Reply | undefined;
    if (reply) this.#page?.answeredBySocket();
    return reply;
  }

  /** The kernel sees that the thread is dead: a call that sleeps ends. */
  close(): void {
    close(this.pidfd);
    close(this.socket);
    this.#page?.release();
  }
}

function pidfdOf(tid: number, pid: number): number {
  try {
    return pidfdOpenThread(tid);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    return pidfdOpen(pid);
  }
}

/** All of them, by tid. */
export class ProgramThreads {
  readonly #socketPath: string;
  readonly #byTid = new Map<number, ProgramThread>();
  /** Processes with a thread in execve(2). */
  readonly #execing = new Set<number>();
  readonly #pages = new ThreadPages();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get size(): number {
    return this.#byTid.size;
  }

  all(): Iterable<ProgramThread> {
    return this.#byTid.values();
  }

  /** The thread with its channel, which is made when it is needed. ESRCH: the thread is gone. */
  enter(tid: number): ProgramThread {
    const known = this.#byTid.get(tid);
    if (known) return known;
    const pid = processOf(tid);
    if (pid === undefined) throw new SysError('ESRCH', `no thread ${tid}`);
    const thread = new ProgramThread(this.#socketPath, tid, pid, this.#pages);
    this.#byTid.set(tid, thread);
    return thread;
  }

  /** The process of thread `tid`, if a thread of it has entered the kernel. */
  processWith(tid: number): number | undefined {
    const pid = processOf(tid);
    for (const thread of this.#byTid.values()) if (thread.pid === pid) return pid;
    return undefined;
  }

  forget(thread: ProgramThread): void {
    this.#byTid.delete(thread.tid);
    thread.close();
  }

  /** A thread of process `pid` is about to execve. */
  execs(pid: number): void {
    this.#execing.add(pid);
  }

  /**
   * A thread makes a call. If its process was in execve(2), that is over, and the channels of the
   * process may be of its former image: those that are not `busy` are forgotten. A thread in the
   * middle of a call lives, so the execve of another thread has failed.
   */
  calls(tid: number, busy: (thread: ProgramThread) => boolean): void {
    if (this.#execing.size === 0) return;
    const pid = processOf(tid);
    if (pid === undefined || !this.#execing.delete(pid)) return;
    for (const thread of [...this.#byTid.values()]) if (thread.pid === pid && !busy(thread)) this.forget(thread);
  }
}
