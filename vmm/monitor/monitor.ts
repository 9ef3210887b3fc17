/** The monitor: QMP on a UNIX socket that only its owner may use. Sockets and clients go from image to image. */
import { rmSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';

import { SysError } from '../../platform/errno.ts';
import { VERSION } from '../version.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import type { Command, Json, JsonObject } from './qmp.ts';
import { type MonitorState, NO_MONITOR } from './state.ts';

/** More clients than this at once are turned away. */
const MAX_CLIENTS = 64;

/** query-version: three numbers as QEMU has them, and who we are. */
export function versionInfo(): JsonObject {
  const [major = 0, minor = 0, micro = 0] = VERSION.split('.').map(Number);
  return { qemu: { micro, minor, major }, package: `livevmm ${VERSION}` };
}

export class Monitor {
  readonly #path: string;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #options: ConnectionOptions;

  private constructor(path: string, execute: (command: Command) => Promise<Json>) {
    this.#path = path;
    this.#options = { execute, greeting: { QMP: { version: versionInfo(), capabilities: [] } } };
    this.#server = createServer((socket) => this.#add(new Connection(socket, this.#options)));
    this.#server.maxConnections = MAX_CLIENTS;
  }

  /** Listens at `path`, mode 0600. EADDRINUSE, EACCES, ENOENT name the path. */
  static async listen(path: string, execute: (command: Command) => Promise<Json>): Promise<Monitor> {
    const monitor = new Monitor(path, execute);
    const umask = process.umask(0o177); // the socket is bound within listen()
    try {
      await monitor.#listening(() => monitor.#server.listen(path));
    } finally {
      process.umask(umask);
    }
    return monitor;
  }

  /** Takes over the sockets of an earlier image. */
  static async resume(state: MonitorState, execute: (command: Command) => Promise<Json>): Promise<Monitor | undefined> {
    const { socket, connections } = state;
    if (!socket) return undefined;
    const monitor = new Monitor(socket.path, execute);
    for (const { fd, ...client } of connections) {
      monitor.#add(new Connection(new Socket({ fd, readable: true, writable: true }), monitor.#options, client));
    }
    await monitor.#listening(() => monitor.#server.listen({ fd: socket.fd }));
    return monitor;
  }

  emit(event: string, data?: JsonObject): void {
    for (const connection of this.#connections) connection.tell(event, data);
  }

  /** Executes and reads nothing more, so that state can be saved. A client that has not read its answers is cut off. */
  hold(): void {
    for (const connection of this.#connections) {
      connection.hold();
      if (connection.socket.writableLength > 0) connection.socket.destroy();
    }
  }

  /** Goes on after hold. */
  release(): void {
    for (const connection of this.#connections) connection.release();
  }

  /** Only while held. */
  save(): MonitorState {
    const fd = fdOf(this.#server);
    if (fd === undefined) return NO_MONITOR;
    const connections = [...this.#connections].flatMap((connection) => {
      const clientFd = fdOf(connection.socket);
      return clientFd === undefined ? [] : [{ fd: clientFd, ...connection.save() }];
    });
    return { version: 1, socket: { path: this.#path, fd }, connections };
  }

  /** Removes the socket. */
  close(): void {
    rmSync(this.#path, { force: true });
    this.#server.close();
    for (const connection of this.#connections) connection.socket.destroySoon();
  }

  #add(connection: Connection): void {
    this.#connections.add(connection);
    connection.socket.once('close', () => this.#connections.delete(connection));
  }

  #listening(listen: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('listening', resolve);
      this.#server.once('error', ({ code = 'EIO' }: NodeJS.ErrnoException) => {
        reject(new SysError(code, `monitor socket ${this.#path}: ${code}`));
      });
      listen();
    });
  }
}

/** The fd behind a libuv handle: what an exec hands over. Node has no public name for it; undefined once it is closed. */
function fdOf(owner: Server | Socket): number | undefined {
  const { _handle: handle } = owner as unknown as { _handle: { fd: number } | null };
  return handle && handle.fd >= 0 ? handle.fd : undefined;
}
