/**
 * One connection of a client: its role (wire.ts), its frames, and the bytes that the host keeps for
 * it.
 */
import type { Socket } from 'node:net';
import { ebadf, ebusy, eexist, enoent, eproto, esrch, SysError } from '../../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../../platform/frames.ts';
import { handleFd } from '../../../platform/handle-fd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { sendWithFd } from '../../../platform/libc/pass-fd.ts';
import type { PageArena } from '../../../platform/page-arena.ts';
import { socketInode, threadOf } from '../../../platform/process.ts';
import { CALL_PAGES } from '../../abi/call-page.ts';
import type { Memlock } from '../../abi/control.ts';
import {
  DEVICE_FD_PATH,
  MAPPING_PATH,
  MAX_TRANSFER,
  type OpenHello,
  parseHello,
  type Reply,
  type Request,
  type SharingRequest,
  type TaskHello,
} from '../../abi/wire.ts';
import type { Attention } from '../core/attention.ts';
import { OWN_CALLS, TRAPPED_CALLS } from '../core/door.ts';
import { type FileOperations, OpenFile } from '../core/open-file.ts';
import { ChannelTask, type ProcessTable } from '../core/task.ts';
import { callerOf, openerOf, type Peer } from './behalf.ts';
import { CallDoor } from './call-door.ts';
import { Channel, replyOf } from './channel.ts';
import { type ClientProcess, type Clients, MAX_BYTES_OF_CALLS } from './clients.ts';
import type { FileTable, HeldFile } from './file-table.ts';
import type { OpenedFile } from './object-files.ts';
import type { Turns } from './turns.ts';

/**
 * The longest frame a client has a reason to send: a pwrite. Frames of the answers may be longer.
 */
const MAX_REQUEST = MAX_TRANSFER + 4096;
/**
 * A request has few keys; decoding a million of them would take the kernel's thread for seconds.
 */
const MAX_VALUES = 64;

/** open(2) by path: a file's operations, or ENOENT, EACCES, EBUSY … thrown. */
export type OpenPath = (path: string, opener: Peer, flags: number) => FileOperations;

/** The parts that all connections of a server share. */
export interface Hall {
  readonly memlock: Memlock;
  readonly files: FileTable;
  readonly openPath: OpenPath;
  readonly clients: Clients;
  readonly processes: ProcessTable;
  readonly channels: Set<Channel>;
  readonly turns: Turns;
  readonly attention: Attention;
  /** The call pages. */
  readonly pages: PageArena;
}

interface ChannelRole {
  readonly kind: 'channel';
  readonly channel: Channel;
  readonly killed: AbortController;
  /** Present once the client has asked for a call page. */
  door?: CallDoor;
  /** They take the channel's pages away. */
  readonly closers: (() => void)[];
}

/** The role of a connection. */
type Role =
  | { readonly kind: 'unknown' }
  /** The client has said its hello and waits for the answer. */
  | { readonly kind: 'entering' }
  /** The client has its answer and hangs up. */
  | { readonly kind: 'over' }
  | { readonly kind: 'file'; readonly held: HeldFile }
  | ChannelRole;

export class Connection {
  readonly #socket: Socket;
  readonly #peer: Peer;
  readonly #client: ClientProcess;
  readonly #hall: Hall;
  readonly #reader = new FrameReader({ maxFrame: MAX_REQUEST, maxValues: MAX_VALUES });
  #role: Role = { kind: 'unknown' };
  /** Bytes of the incoming frame, and of the request under way with its answer. */
  #coming = 0;
  #underWay = 0;
  /** The bytes on the client's account for this connection. */
  #held = 0;
  /** Processes other than the client that its account has for this connection. */
  #processes = 0;

  /** `client` already has this connection on its account. */
  constructor(socket: Socket, peer: Peer, client: ClientProcess, hall: Hall) {
    this.#socket = socket;
    this.#peer = peer;
    this.#client = client;
    this.#hall = hall;
    socket.on('data', (chunk) => this.#guarded(() => this.#received(chunk)));
    socket.on('drain', () => this.#guarded(() => this.#settle()));
    socket.on('end', () => this.#closeFile());
    // ECONNRESET, EPIPE: the client is gone; 'close' follows
    socket.on('error', () => {
      this.#closeFile();
      socket.destroy();
    });
    socket.on('close', () => this.#closed());
  }

  /** Runs `work`. An error ends this connection and no other. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SysError)) replyOf(error); // a bug: told, and this connection given up
      this.#socket.destroy();
    }
  }

  /**
   * Takes in a chunk of the stream. EPROTO for more than a frame at a time: a client that waits for
   * its answers never sends that.
   */
  #received(chunk: Uint8Array): void {
    const frames = this.#reader.push(chunk);
    this.#coming += chunk.length;
    this.#settle();
    if (frames.length === 0) return;
    if (frames.length > 1 || this.#reader.held > 0) throw eproto('request before the answer to the last one');
    const size = this.#coming;
    this.#coming = 0;
    this.#frame(frames[0], size);
  }

  #frame(frame: unknown, size: number): void {
    const role = this.#role;
    switch (role.kind) {
      case 'unknown':
        this.#enter(parseHello(frame));
        return;
      case 'channel': {
        const request = role.channel.accept(frame);
        if (request.op === 'page' || request.op === 'registers' || request.op === 'interrupts') {
          this.#share(role, request);
          return;
        }
        if (role.door) this.#hall.attention.called(role.door);
        this.#underWay = size + answerBytes(request);
        try {
          this.#settle(MAX_BYTES_OF_CALLS);
        } catch (error) {
          this.#underWay = 0;
          role.channel.refuse(error);
          return;
        }
        this.#hall.turns.run(this.#peer.pid, () => role.channel.serve(request));
        return;
      }
      case 'over':
        return; // it is being hung up
      case 'entering':
      case 'file':
        throw eproto('data on a file connection');
    }
  }

  #enter(hello: OpenHello | TaskHello): void {
    this.#socket.setTimeout(0);
    this.#role = { kind: 'entering' };
    this.#hall.turns.run(this.#peer.pid, () =>
      this.#guarded(() => {
        if (this.#socket.destroyed) return;
        try {
          this.#role = 'open' in hello ? this.#openFile(hello) : this.#openChannel(hello);
        } catch (error) {
          this.#role = refuse(this.#socket, error);
        }
      }),
    );
  }

  #openChannel({ task: name, pid }: TaskHello): Role {
    const { processes, channels, files, memlock, clients } = this.#hall;
    const killed = new AbortController();
    if (pid !== undefined) {
      clients.enterProcess(this.#client);
      this.#processes++;
    }
    const caller = callerOf(this.#peer, pid, processes);
    const tid = pid === undefined ? threadOf(caller.pid, name) : name;
    if (tid === undefined) throw esrch(`process ${caller.pid} has no thread ${name}`);
    const task = new ChannelTask(tid, caller, { killed: killed.signal, memlock });
    const channel = new Channel({ task, files, send: (reply) => this.#answer(reply, role.door) });
    const role: ChannelRole = { kind: 'channel', channel, killed, closers: [] };
    channels.add(role.channel);
    files.forget(caller.pid); // it may have exec'ed
    this.#send({ ret: 0, pid: process.pid, pages: true });
    return role;
  }

  /** Answers with a page of shared memory. */
  #share(role: ChannelRole, request: SharingRequest): void {
    const { channel } = role;
    try {
      if (this.#socket.writableLength > 0) throw eproto('request before the answer to the last one was read');
      const frame = encodeFrame({ ret: 0 });
      const pass = (fd: number): void => sendWithFd(fdOf(this.#socket), frame, fd);
      if (request.op === 'page') this.#giveCallPage(role, pass);
      else if (request.op === 'registers')
        role.closers.push(channel.shareRegisters(request.fd, this.#hall.pages, pass));
      else role.closers.push(channel.shareInterrupts(request.fd, this.#hall.pages, pass));
    } catch (error) {
      channel.refuse(error);
      return;
    }
    channel.shared();
  }

  #giveCallPage(role: ChannelRole, pass: (fd: number) => void): void {
    if (role.door) throw ebusy('the channel has a page');
    const page = this.#hall.pages.make('call page', pass, CALL_PAGES);
    const isOwn = role.channel.task.pid === this.#peer.pid;
    const door = new CallDoor(page, role.channel, {
      pace: isOwn ? OWN_CALLS : TRAPPED_CALLS,
      guarded: (work) => this.#guarded(work),
      inTurn: (work) => this.#hall.turns.run(this.#peer.pid, work),
    });
    role.door = door;
    // A supervisor cannot promise these for the program that it stands for.
    role.channel.tellsOfFds = isOwn;
    role.channel.task.staysInNamespace = isOwn;
    const place = this.#hall.attention.place();
    place?.add(door);
    role.closers.push(() => {
      place?.remove(door);
      this.#hall.attention.dismiss(door);
      page.release();
    });
  }

  #openFile(hello: OpenHello): Role {
    const { files, openPath } = this.#hall;
    const peer = this.#peer;
    files.forget(hello.pid ?? peer.pid); // the fd may have meant another file
    const inode = socketInode(peer.pid, hello.fd);
    if (inode === undefined) throw ebadf(`fd ${hello.fd} of process ${peer.pid} is no socket`);
    if (files.has(inode)) throw eexist(`fd ${hello.fd} of process ${peer.pid} is an open file already`);
    files.closeHungUp(); // a file the caller has closed must not make this open EBUSY
    const { pid, uid } = openerOf(peer, hello.pid);
    const isClaim = hello.open === DEVICE_FD_PATH || hello.open === MAPPING_PATH;
    const file = isClaim ? this.#claim(hello, pid) : new OpenFile(openPath(hello.open, { pid, uid }, hello.flags ?? 0));
    const { object } = file.operations;
    if (hello.object && object !== undefined) return this.#giveObject({ file, pid }, object);
    const socketFd = fdOf(this.#socket);
    const held = { inode, file, socketFd, pid, disconnect: () => this.#socket.destroy() };
    files.add(held);
    this.#opened(file.operations);
    return { kind: 'file', held };
  }

  /** The last answer: the object that is the open file from here on, and this connection ends. */
  #giveObject(opened: OpenedFile, object: number): Role {
    let fd: number;
    try {
      fd = this.#hall.files.giveObject(opened, object);
    } catch (error) {
      this.#hall.files.drop(opened);
      throw error;
    }
    try {
      this.#sendWithFd(fd);
      this.#socket.end();
    } finally {
      close(fd); // the client has its own; if it is gone, that was the last one
    }
    return { kind: 'over' };
  }

  /** The file behind a token that one of the caller's channels was given. */
  #claim({ token }: OpenHello, pid: number): OpenFile {
    for (const channel of this.#hall.channels) {
      const file = channel.task.pid === pid ? channel.claim(token ?? 0) : undefined;
      if (file) return file;
    }
    throw enoent('no file waits under this token');
  }

  /** The first and last answer on a file connection, with the fd that the file passes on. */
  #opened({ passesFd }: FileOperations): void {
    if (passesFd === undefined) this.#send({ ret: 0 });
    else this.#sendWithFd(passesFd);
  }

  #sendWithFd(fd: number): void {
    try {
      // Nothing was sent before this answer, so nothing is queued.
      sendWithFd(fdOf(this.#socket), encodeFrame({ ret: 0 }), fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#socket.destroy(); // the client is gone; 'close' follows
    }
  }

  /** The answer to a request, by the page if the request came by it. */
  #answer(reply: Reply, door: CallDoor | undefined): void {
    if (door?.answer(reply)) return;
    this.#underWay = 0;
    this.#guarded(() => this.#send(reply));
    if (door) this.#hall.attention.answered(door);
  }

  /** Sends a reply. ENOMEM beyond the limit, for a client that does not read its answers. */
  #send(reply: Reply): void {
    this.#socket.write(encodeFrame(reply));
    this.#settle();
  }

  /**
   * Brings the client's account up to date. ENOMEM when the host holds more for the client than it
   * may have. A closed connection holds nothing.
   */
  #settle(limit?: number): void {
    const now = this.#socket.destroyed ? 0 : this.#reader.held + this.#underWay + this.#socket.writableLength;
    const { clients } = this.#hall;
    if (now !== this.#held) clients.hold(this.#client, now - this.#held, limit);
    this.#held = now;
  }

  /**
   * The last close(2) of the file, if this is one. It comes before 'close': until that, the socket
   * may be closed already, and FileTable.closeHungUp does not see it any more.
   */
  #closeFile(): void {
    if (this.#role.kind === 'file') this.#hall.files.close(this.#role.held);
  }

  #closed(): void {
    const { clients, files, channels, processes } = this.#hall;
    this.#settle();
    for (; this.#processes > 0; this.#processes--) clients.leaveProcess(this.#client);
    clients.leave(this.#client);
    this.#closeFile();
    const role = this.#role;
    if (role.kind !== 'channel') return;
    channels.delete(role.channel);
    files.forget(role.channel.task.pid);
    for (const close of role.closers) close();
    role.killed.abort();
    role.channel.end();
    processes.reap();
  }
}

/** The size of a request's answer, as far as the request tells. */
const answerBytes = (request: Request): number => (request.op === 'pread' ? Math.min(request.length, MAX_TRANSFER) : 0);

/** Answers −errno and hangs up. */
export function refuse(socket: Socket, error: unknown): { readonly kind: 'over' } {
  const reply: Reply = { ...replyOf(error), pid: process.pid };
  socket.end(encodeFrame(reply), () => socket.destroy());
  return { kind: 'over' };
}

/** The fd under a connected socket (SO_PEERCRED, poll). */
export function fdOf(socket: Socket): number {
  const fd = handleFd(socket);
  if (fd === undefined) throw ebadf('connection is already closed');
  return fd;
}
