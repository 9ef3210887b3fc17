/**
 * The monitor: QMP on a UNIX socket that only its owner may use. Its sockets and clients go from
 * image to image.
 */
import { rmSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';

import { SysError } from '../../platform/errno.ts';
import { handleFd } from '../../platform/handle-fd.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
import { VERSION } from '../../platform/version.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import type { Command, Json, JsonObject } from './qmp.ts';
import { type ConnectionState, type MonitorState, NO_MONITOR } from './state.ts';

/**
 * The most clients. When one more connects, the client that has been idle longest is cut off, so
 * that a crowd of idle clients does not lock the owner out.
 */
const MAX_CLIENTS = 64;
/** How long commands that are executing, and clients that are reading, may hold up an update. */
const QUIET_MS = 5000;

/** The answer to query-version: three numbers as QEMU has them, and our own name. */
export function versionInfo() {
  const [major = 0, minor = 0, micro = 0] = VERSION.split('.').map(Number);
  return { qemu: { micro, minor, major }, package: `livevmm ${VERSION}` };
}

export class Monitor {
  readonly #path: string;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #left = false;
  #changes = 0;
  #changed: () => void = () => {};
  readonly #options: ConnectionOptions;

  private constructor(path: string, execute: (command: Command) => Promise<Json>) {
    this.#path = path;
    const greeting = { QMP: { version: versionInfo(), capabilities: [] } };
    this.#options = { execute, greeting, negotiated: () => this.#change() };
    this.#server = createServer((socket) => {
      if (this.#connections.size >= MAX_CLIENTS) this.#dropIdlest();
      this.#add(new Connection(socket, this.#options));
    });
  }

  /**
   * Listens at `path`, mode 0600. It replaces the socket that a killed VMM left. Errors are those
   * of listenUnix.
   */
  static async listen(path: string, execute: (command: Command) => Promise<Json>): Promise<Monitor> {
    const monitor = new Monitor(path, execute);
    await monitor.#listening(bind(path));
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
    await monitor.#listening(socket.fd);
    return monitor;
  }

  emit(event: string, data?: JsonObject): void {
    if (this.#left) return;
    for (const connection of this.#connections) connection.tell(event, data);
  }

  /**
   * Begins no further command. Resolves when the commands under way have been answered and the
   * clients have read the answers, so that nothing is lost when state is saved. A command that
   * takes longer than `ms` is answered with `reason`; a client that reads nothing for as long is
   * cut off.
   */
  async quiet(reason: string, ms = QUIET_MS): Promise<void> {
    const connections = [...this.#connections];
    for (const connection of connections) connection.hold();
    await within(ms, Promise.all(connections.map((connection) => connection.idle())));
    for (const connection of connections) connection.abandon(reason);
    await within(ms, Promise.all(connections.map(({ socket }) => drained(socket))));
    for (const { socket } of connections) if (socket.writableLength > 0) socket.destroy();
  }

  /**
   * Holds all clients, also those that have connected since `quiet`. To be called within the pause.
   */
  hold(): void {
    for (const connection of this.#connections) connection.hold();
  }

  #dropIdlest(): void {
    const idle = [...this.#connections].filter(({ busy }) => !busy);
    idle.toSorted((a, b) => a.lastUsed - b.lastUsed)[0]?.socket.destroy();
  }

  /** Goes on after hold. `forget`: another process has executed what had been received. */
  release({ forget = false }: { readonly forget?: boolean } = {}): void {
    this.#left = false;
    for (const connection of this.#connections) {
      if (forget) connection.forget();
      connection.release();
    }
  }

  /** Another process serves the clients now. After hold; until `release` nothing is told here. */
  leave(): void {
    this.#left = true;
  }

  /** To be called only while held. */
  save(): MonitorState {
    return this.#stateOf((connection) => connection.save());
  }

  /** As save, at any time, without the input that was received. */
  present(): MonitorState {
    return this.#stateOf((connection) => connection.present());
  }

  /** Grows whenever a client comes, has negotiated or goes. */
  get changes(): number {
    return this.#changes;
  }

  /** Calls `changed` at each such change. */
  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  #stateOf(saved: (connection: Connection) => Omit<ConnectionState, 'fd'>): MonitorState {
    const fd = handleFd(this.#server);
    if (fd === undefined) return NO_MONITOR;
    const connections = [...this.#connections].flatMap((connection) => {
      const clientFd = handleFd(connection.socket);
      return clientFd === undefined ? [] : [{ fd: clientFd, ...saved(connection) }];
    });
    return { version: 1, socket: { path: this.#path, fd }, connections };
  }

  #change(): void {
    this.#changes++;
    this.#changed();
  }

  /** Closes all sockets, and removes ours if it is to be `removed`. */
  close({ removed }: { readonly removed: boolean }): void {
    if (removed) rmSync(this.#path, { force: true });
    this.#server.close();
    for (const connection of this.#connections) connection.socket.destroySoon();
  }

  #add(connection: Connection): void {
    this.#connections.add(connection);
    connection.socket.once('close', () => {
      this.#connections.delete(connection);
      this.#change();
    });
    this.#change();
  }

  /** Takes a listening socket. */
  #listening(fd: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('listening', resolve);
      this.#server.once('error', ({ code = 'EIO' }: NodeJS.ErrnoException) => {
        reject(new SysError(code, `monitor socket ${this.#path}: ${code}`));
      });
      this.#server.listen({ fd });
    });
  }
}

function bind(path: string): number {
  try {
    return listenUnix(path);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError(error.code, `monitor socket ${error.message}`);
  }
}

/** Resolves with `work`, or after this time without it. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

/** Resolves when all that was written to the socket is in the kernel, or the socket is closed. */
async function drained(socket: Socket): Promise<void> {
  if (socket.writableLength === 0 || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    socket.once('close', resolve);
    socket.write('', () => resolve());
  });
}
