/** The client's side of the monitor: JSON lines on a UNIX socket, commands answered in order, events in between (QEMU docs/interop/qmp-spec). */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

import { CommandError } from './command.ts';

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class QmpClient {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #lost: Promise<never>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket }).on('line', (line) => this.#take(line));
    this.#lost = new Promise((_, reject) => {
      socket.once('close', () => reject(new CommandError('the VMM closed its monitor')));
    });
    this.#lost.catch((error: Error) => {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
  }

  /** Connects and leaves negotiation mode. */
  static async connect(path: string): Promise<QmpClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (error: NodeJS.ErrnoException) => {
        reject(new CommandError(`no monitor at ${path} (${error.code})`));
      });
    });
    socket.on('error', () => socket.destroy()); // 'close' follows and tells everybody who waits
    const client = new QmpClient(socket);
    await client.execute('qmp_capabilities');
    return client;
  }

  #take(line: string): void {
    const message = JSON.parse(line) as Record<string, unknown>;
    if (typeof message.event === 'string') {
      const event = { event: message.event, data: (message.data ?? {}) as Record<string, unknown> };
      for (const listener of this.#listeners) listener(event);
    } else if ('return' in message) {
      this.#waiting.shift()?.resolve(message.return);
    } else if ('error' in message) {
      const { desc } = message.error as { desc: string };
      this.#waiting.shift()?.reject(new CommandError(desc));
    } // else the greeting
  }

  /** Runs a command; rejects with the monitor's own words when it refuses. */
  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new CommandError('the VMM closed its monitor'));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}) })}\n`);
    });
  }

  /** Calls `listener` with every event from now on; returns how to stop. */
  listen(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The first event from now on that `wanted` accepts; rejects when the connection ends or after timeoutMs. */
  async nextEvent(wanted: (event: QmpEvent) => boolean, timeoutMs: number): Promise<QmpEvent> {
    let stop = (): void => {};
    let timer: NodeJS.Timeout | undefined;
    try {
      return await Promise.race([
        new Promise<QmpEvent>((resolve) => {
          stop = this.listen((event) => {
            if (wanted(event)) resolve(event);
          });
        }),
        new Promise<never>((_, reject) => {
          timer = setTimeout(
            () => reject(new CommandError(`the monitor was silent for ${timeoutMs} ms`)),
            timeoutMs,
          ).unref();
        }),
        this.#lost,
      ]);
    } finally {
      stop();
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
