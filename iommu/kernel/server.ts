/**
 * The UNIX socket: file connections and task channels (wire.ts). Whatever a client sends, the worst that happens to it is
 * that it is disconnected, and to others nothing.
 */
import { rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';

import { ebadf, eexist, enoent, eproto, SysError } from '../../platform/errno.ts';
import { encodeFrame, FrameReader } from '../../platform/frames.ts';
import { peerCredentials, sendWithFd } from '../../platform/libc.ts';
import { socketInode } from '../../platform/process.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
import { Channel, replyOf } from './channel.ts';
import type { Memlock } from './control.ts';
import type { FileTable, HeldFile } from './file-table.ts';
import { type FileOperations, OpenFile } from './open-file.ts';
import { ChannelTask, ProcessTable } from './task.ts';
import {
  DEVICE_FD_PATH,
  MAPPING_PATH,
  MAX_TRANSFER,
  type OpenHello,
  parseHello,
  type Reply,
  type TaskHello,
} from './wire.ts';

/** A connection that has not said what it is by then is dropped. */
const HELLO_TIMEOUT_MS = 10_000;
/** Answers a client has not read; beyond it, it is flooding. */
const MAX_UNREAD = 64 * 1024 * 1024;
const MAX_CONNECTIONS = 8192;
/** The longest frame a client has a reason to send: a pwrite. Frames of the answers may be longer. */
const MAX_REQUEST = MAX_TRANSFER + 4096;

/** Credentials of the peer as of its connect(2). */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
}

/** open(2) by path: a file's operations, or ENOENT, EACCES, EBUSY … thrown. */
export type OpenPath = (path: string, peer: Peer) => FileOperations;

export interface ServerOptions {
  readonly socketPath: string;
  readonly memlock: Memlock;
  readonly files: FileTable;
  readonly openPath: OpenPath;
}

/** What a connection has turned out to be. */
type Role =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'file'; readonly held: HeldFile }
  | { readonly kind: 'channel'; readonly channel: Channel; readonly killed: AbortController };

export class Server {
  readonly #options: ServerOptions;
  readonly #processes = new ProcessTable();
  readonly #channels = new Set<Channel>();
  readonly #sockets = new Set<Socket>();
  readonly #net: NetServer;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#net = createServer((socket) => this.#connected(socket));
    this.#net.maxConnections = MAX_CONNECTIONS;
  }

  /** Listening; only the socket's owner (and root) can connect. Errors are those of listenUnix. */
  async listen(): Promise<void> {
    const fd = listenUnix(this.#options.socketPath);
    await new Promise<void>((resolve, reject) => {
      this.#net.once('error', reject);
      this.#net.listen({ fd }, resolve);
    });
  }

  channels(): Iterable<Channel> {
    return this.#channels;
  }

  /** Disconnects everybody, closes every file and removes the socket. */
  async close(): Promise<void> {
    if (this.#net.listening) rmSync(this.#options.socketPath, { force: true }); // while we listen, it is nobody else's
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    this.#options.files.closeAll();
    await closed;
    this.#processes.close();
  }

  #connected(socket: Socket): void {
    this.#sockets.add(socket);
    const reader = new FrameReader();
    let role: Role = { kind: 'unknown' };
    let unframed = 0;
    socket.setTimeout(HELLO_TIMEOUT_MS, () => socket.destroy());
    socket.on('data', (chunk) => {
      try {
        const frames = reader.push(chunk);
        unframed = frames.length > 0 ? 0 : unframed + chunk.length;
        if (unframed > MAX_REQUEST) throw eproto('request is too long');
        for (const frame of frames) role = this.#frame(socket, role, frame);
      } catch (error) {
        if (!(error instanceof SysError)) replyOf(error); // a bug: told, and this connection given up
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy()); // ECONNRESET, EPIPE: the client is gone; 'close' follows
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#disconnected(role);
    });
  }

  #frame(socket: Socket, role: Role, frame: unknown): Role {
    switch (role.kind) {
      case 'unknown': {
        const hello = parseHello(frame);
        socket.setTimeout(0);
        return 'open' in hello ? this.#openFile(socket, hello) : this.#openChannel(socket, hello);
      }
      case 'channel':
        role.channel.receive(frame);
        return role;
      case 'refused':
        return role; // it is being hung up
      case 'file':
        throw eproto('data on a file connection');
    }
  }

  #disconnected(role: Role): void {
    if (role.kind === 'file') this.#options.files.close(role.held);
    if (role.kind !== 'channel') return;
    this.#channels.delete(role.channel);
    role.killed.abort();
    role.channel.end();
    this.#processes.reap();
  }

  #openChannel(socket: Socket, { task: tid }: TaskHello): Role {
    try {
      const { pid } = peerCredentials(fdOf(socket));
      const killed = new AbortController();
      const task = new ChannelTask(tid, this.#processes.open(pid), {
        killed: killed.signal,
        memlock: this.#options.memlock,
      });
      const channel = new Channel({ task, files: this.#options.files, send: (reply) => send(socket, reply) });
      this.#channels.add(channel);
      send(socket, { ret: 0, pid: process.pid });
      return { kind: 'channel', channel, killed };
    } catch (error) {
      return refuse(socket, error);
    }
  }

  #openFile(socket: Socket, hello: OpenHello): Role {
    try {
      const { files, openPath } = this.#options;
      const peer = peerCredentials(fdOf(socket));
      const inode = socketInode(peer.pid, hello.fd);
      if (inode === undefined) throw ebadf(`fd ${hello.fd} of process ${peer.pid} is no socket`);
      if (files.has(inode)) throw eexist(`fd ${hello.fd} of process ${peer.pid} is an open file already`);
      files.closeHungUp(); // what the caller has closed before must not make this open EBUSY
      const isClaim = hello.open === DEVICE_FD_PATH || hello.open === MAPPING_PATH;
      const file = isClaim ? this.#claim(hello, peer) : new OpenFile(openPath(hello.open, peer));
      const held = { inode, file, socketFd: fdOf(socket), pid: peer.pid, disconnect: () => socket.destroy() };
      files.add(held);
      opened(socket, file.operations);
      return { kind: 'file', held };
    } catch (error) {
      return refuse(socket, error);
    }
  }

  /** A file that one of the caller's channels was given. */
  #claim({ token }: OpenHello, { pid }: Peer): OpenFile {
    for (const channel of this.#channels) {
      const file = channel.task.pid === pid ? channel.claim(token ?? 0) : undefined;
      if (file) return file;
    }
    throw enoent('no file waits under this token');
  }
}

/** The first and last answer on a file connection, with the fd that the file passes on. */
function opened(socket: Socket, { passesFd }: FileOperations): void {
  if (passesFd === undefined) {
    send(socket, { ret: 0 });
    return;
  }
  try {
    sendWithFd(fdOf(socket), encodeFrame({ ret: 0 }), passesFd); // before it nothing was sent, so nothing is queued
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    socket.destroy(); // the client is gone; 'close' follows
  }
}

/** Answers −errno and hangs up. */
function refuse(socket: Socket, error: unknown): Role {
  const reply: Reply = { ...replyOf(error), pid: process.pid };
  socket.end(encodeFrame(reply), () => socket.destroy());
  return { kind: 'refused' };
}

function send(socket: Socket, reply: Reply): void {
  if (socket.writableLength > MAX_UNREAD) {
    socket.destroy();
    return;
  }
  socket.write(encodeFrame(reply));
}

/** The fd under a connected socket (SO_PEERCRED, poll). */
function fdOf(socket: Socket): number {
  const { fd } = (socket as unknown as { _handle: { fd: number } | null })._handle ?? { fd: -1 };
  if (fd < 0) throw ebadf('connection is already closed');
  return fd;
}
