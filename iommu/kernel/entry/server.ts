/**
 * The server of the UNIX socket: file connections and task channels (wire.ts). The worst result of
 * anything a client sends is that this client is disconnected. Other clients notice nothing.
 */
import { rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';

import { esrch } from '../../../platform/errno.ts';
import { handleFd } from '../../../platform/handle-fd.ts';
import { peerCredentials } from '../../../platform/libc/unix-socket.ts';
import { epollThatWatches } from '../../../platform/loop-epoll.ts';
import { Reservation } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { PageArena } from '../../../platform/page-arena.ts';
import { listenUnix } from '../../../platform/unix-listener.ts';
import { CALL_PAGES } from '../../abi/call-page.ts';
import type { Memlock } from '../../abi/control.ts';
import { Attention } from '../core/attention.ts';
import { Bells } from '../core/bells.ts';
import { Rest } from '../core/rest.ts';
import { ProcessTable } from '../core/task.ts';
import type { Channel } from './channel.ts';
import { Clients } from './clients.ts';
import { Connection, fdOf, type Hall, type OpenPath, refuse } from './connection.ts';
import type { FileTable } from './file-table.ts';
import { Turns } from './turns.ts';

/** A connection without a hello by then is dropped. */
const HELLO_TIMEOUT_MS = 10_000;

const OWN_PAGES = 1024 * CALL_PAGES;

/**
 * SO_PEERCRED has no pid for a process in a PID namespace that is not below ours. Such a process
 * has no number here.
 */
const OUT_OF_SIGHT =
  'this host cannot see its client, which lives in another PID namespace: start the host in that one or in one above it';

export interface ServerOptions {
  readonly socketPath: string;
  readonly memlock: Memlock;
  readonly files: FileTable;
  /** The task channels that are there. The default is a set that nothing else reads. */
  readonly channels?: Set<Channel>;
  readonly openPath: OpenPath;
  /** Room for call pages: the buffer of a Reservation. Default: one of its own. */
  readonly pages?: SharedArrayBuffer;
  /** What the kernel's thread looks at. Default: one of its own. */
  readonly attention?: Attention;
  /** Fds for all connections together (Clients). Default: any number. */
  readonly connectionFds?: number;
  /** The thread is the server's alone: it may sleep outside the event loop. */
  readonly ownsThread?: boolean;
}

export class Server {
  readonly #socketPath: string;
  readonly #hall: Hall;
  readonly #sockets = new Set<Socket>();
  readonly #net: NetServer;
  /** Null: it cannot be. */
  #rest: Rest | undefined | null;

  constructor(options: ServerOptions) {
    const { socketPath, memlock, files, channels = new Set(), openPath } = options;
    const { connectionFds = Number.POSITIVE_INFINITY, ownsThread = false } = options;
    this.#socketPath = socketPath;
    this.#hall = {
      ...{ memlock, files, channels, openPath },
      clients: new Clients(connectionFds),
      processes: new ProcessTable(),
      turns: new Turns(),
      attention: options.attention ?? new Attention(),
      pages: new PageArena(options.pages ?? new Reservation(OWN_PAGES * PAGE_SIZE).buffer, CALL_PAGES),
    };
    if (ownsThread) this.#hall.attention.place = () => this.#restOfThread();
    this.#net = createServer((socket) => this.#connected(socket));
  }

  /**
   * Starts to listen, or to answer those who have connected to a socket that listens already. Only
   * the socket's owner (and root) can connect. Errors are those of listenUnix.
   */
  async listen(fd = listenUnix(this.#socketPath)): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#net.once('error', reject);
      this.#net.listen({ fd }, resolve);
    });
  }

  /**
   * Disconnects all clients, closes every file and removes the socket. Resolves when the files have
   * been released: a release needs the board and the IOMMUs.
   */
  async close(): Promise<void> {
    // The path is this server's own while it listens.
    if (this.#net.listening) rmSync(this.#socketPath, { force: true });
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    // net's own close comes before those of its sockets, which end channels and drop their files.
    const ends = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const socket of this.#sockets) socket.destroy();
    this.#hall.files.closeAll();
    await Promise.all([closed, ...ends]);
    await this.#hall.files.released();
    this.#hall.processes.close();
    this.#rest?.close();
  }

  /** Made when there is something to be rung. */
  #restOfThread(): Rest | undefined {
    if (this.#rest === undefined) {
      const loop = epollThatWatches(handleFd(this.#net)!);
      const bells = loop === undefined ? undefined : Bells.create(loop);
      this.#rest = bells ? new Rest(bells, this.#hall.attention) : null;
    }
    return this.#rest ?? undefined;
  }

  #connected(socket: Socket): void {
    try {
      const peer = peerCredentials(fdOf(socket));
      if (peer.pid === 0) throw esrch(OUT_OF_SIGHT);
      const client = this.#hall.clients.enter(peer.pid);
      new Connection(socket, peer, client, this.#hall);
    } catch (error) {
      socket.on('error', () => socket.destroy());
      refuse(socket, error);
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setTimeout(HELLO_TIMEOUT_MS, () => socket.destroy());
  }
}
