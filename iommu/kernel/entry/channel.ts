/**
 * A task channel is one thread of a client, strictly request → reply. Nothing that the client sends
 * is trusted.
 */
import { enodev, eproto } from '../../../platform/errno.ts';
import type { PageArena } from '../../../platform/page-arena.ts';
import { type CallRequest, parseRequest, type Reply, type Request } from '../../abi/wire.ts';
import { reportBug } from '../core/bug.ts';
import type { OpenFile } from '../core/open-file.ts';
import type { ChannelTask } from '../core/task.ts';
import type { FileTable } from './file-table.ts';
import { errorReply } from './ioctl-call.ts';
import { SystemCall } from './system-call.ts';

const EIO = -5;

export interface ChannelOptions {
  readonly task: ChannelTask;
  readonly files: FileTable;
  readonly send: (reply: Reply) => void;
}

/** A file that a call has returned and that the caller has not connected to yet. */
interface Pending {
  readonly token: number;
  readonly file: OpenFile;
}

let lastToken = 0;

export class Channel {
  readonly task: ChannelTask;
  readonly #files: FileTable;
  readonly #send: (reply: Reply) => void;
  #busy = false;
  #ended = false;
  #pending: Pending | undefined;
  /** The process tells of changes of its fds (wire.ts: PageRequest). */
  tellsOfFds = false;

  constructor({ task, files, send }: ChannelOptions) {
    this.task = task;
    this.#files = files;
    this.#send = send;
  }

  /**
   * Accepts a request. It is the channel's only one until it is served or refused. EPROTO, and the
   * caller must disconnect, for a malformed request or one that does not wait for the last answer.
   */
  accept(frame: unknown): Request {
    if (this.#busy) throw eproto('request before the answer to the last one');
    const request = parseRequest(frame);
    this.#busy = true;
    return request;
  }

  /** As accept, for a request that has come by the call page. */
  begin(): void {
    this.#busy = true;
  }

  /** The accepted request was one for a page, and is answered. */
  shared(): void {
    this.#busy = false;
  }

  /**
   * Makes a register page of the file behind a fd, as FileOperations.registerPage. EBADF; ENODEV
   * for a file without registers.
   */
  shareRegisters(fd: number, arena: PageArena, pass: (object: number) => void): () => void {
    const file = new SystemCall(this.task, this.#files, this.tellsOfFds).file(fd);
    if (!file?.operations.registerPage) throw enodev(`fd ${fd} has no registers`);
    return file.operations.registerPage(arena, pass);
  }

  /**
   * Makes an interrupt page of the file behind a fd, as FileOperations.interruptPage. EBADF; ENODEV
   * for a file without messages (MSI, MSI-X).
   */
  shareInterrupts(fd: number, arena: PageArena, pass: (object: number) => void): () => void {
    const file = new SystemCall(this.task, this.#files, this.tellsOfFds).file(fd);
    if (!file?.operations.interruptPage) throw enodev(`fd ${fd} sends no messages`);
    return file.operations.interruptPage(arena, pass);
  }

  /** Carries out the accepted request. The answer is sent when there is one. */
  serve(request: CallRequest): void {
    if (this.#ended) return;
    this.#dropPending();
    const call = new SystemCall(this.task, this.#files, this.tellsOfFds);
    const finish = (reply: Reply): void => this.#finish(call, reply);
    const fail = (error: unknown): void => this.#finish(call, replyOf(error));
    try {
      this.#files.closeHungUp();
      const reply = this.#enter(call, request);
      if (reply instanceof Promise) reply.then(finish, fail);
      else finish(reply);
    } catch (error) {
      fail(error);
    }
  }

  /** Answers the accepted request without carrying it out. */
  refuse(error: unknown): void {
    this.#busy = false;
    this.#send(replyOf(error));
  }

  #enter(call: SystemCall, request: CallRequest): Reply | Promise<Reply> {
    this.task.enter();
    try {
      return call.run(request);
    } finally {
      this.task.leave();
    }
  }

  #finish(call: SystemCall, reply: Reply): void {
    this.#busy = false;
    const file = call.takeInstalled();
    if (this.#ended) {
      if (file) this.#drop(file);
      return;
    }
    if (!file) {
      this.#send(reply);
      return;
    }
    this.#pending = { token: ++lastToken, file };
    this.#send({ ...reply, token: this.#pending.token });
  }

  /**
   * The file behind a token that this channel was given. Each token works once. The caller gets the
   * file's reference.
   */
  claim(token: number): OpenFile | undefined {
    if (this.#pending?.token !== token) return undefined;
    const { file } = this.#pending;
    this.#pending = undefined;
    return file;
  }

  /** A call is under way, or will never be any more. */
  get busy(): boolean {
    return this.#busy || this.#ended;
  }

  #dropPending(): void {
    if (this.#pending) this.#drop(this.#pending.file);
    this.#pending = undefined;
  }

  #drop(file: OpenFile): void {
    this.#files.drop({ file, pid: this.task.pid });
  }

  /**
   * Ends the channel after its connection has gone. Files that the client had not taken go, too. A
   * call that sleeps is woken by task.killed.
   */
  end(): void {
    this.#ended = true;
    this.#dropPending();
    this.task.end();
  }
}

/**
 * The answer to a call that threw: its errno, or EIO for a bug of ours. The bug is reported and
 * harms no other call.
 */
export function replyOf(error: unknown): Reply {
  try {
    return errorReply(error);
  } catch (bug) {
    reportBug(bug);
    return { ret: EIO, message: 'internal error of the host' };
  }
}
