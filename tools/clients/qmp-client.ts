/**
 * A client of the monitor: JSON lines on a UNIX socket. Commands are answered in order, with events
 * in between (QEMU docs/interop/qmp-spec).
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

import { CommandError } from '../cli/command.ts';

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * How long a monitor may take for its greeting. One that takes longer is deaf: its process is
 * stopped, or the socket belongs to another program.
 */
const ANSWER_MS = 10_000;

export class QmpClient {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #lost: Promise<never>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket })
      .on('line', (line) => this.#take(line))
      .on('error', () => socket.destroy()); // the socket's own error, told once more
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
    return QmpClient.on(socket);
  }

  /**
   * The same over a connection that the monitor has made. The caller handles the socket's errors.
   */
  static async on(socket: Socket): Promise<QmpClient> {
    const client = new QmpClient(socket);
    try {
      await client.execute('qmp_capabilities', undefined, ANSWER_MS);
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  #take(line: string): void {
    const message = parseLine(line);
    if (!message) {
      this.#socket.destroy(); // no monitor
      return;
    }
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

  /**
   * Runs a command. Rejects with the monitor's message when it refuses, and when no answer comes
   * within timeoutMs.
   */
  execute(command: string, args?: Readonly<Record<string, unknown>>, timeoutMs?: number): Promise<unknown> {
    const answer = new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new CommandError('the VMM closed its monitor'));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}) })}\n`);
    });
    return timeoutMs === undefined ? answer : inTime(answer, timeoutMs);
  }

  /** Calls `listener` with every event from now on; returns how to stop. */
  listen(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first event from now on that `wanted` accepts. Rejects when the connection ends, or after
   * timeoutMs.
   */
  async nextEvent(wanted: (event: QmpEvent) => boolean, timeoutMs: number): Promise<QmpEvent> {
    let stop = (): void => {};
    const event = new Promise<QmpEvent>((resolve) => {
      stop = this.listen((event) => {
        if (wanted(event)) resolve(event);
      });
    });
    try {
      return await inTime(Promise.race([event, this.#lost]), timeoutMs);
    } finally {
      stop();
    }
  }

  /** Resolves when the VMM has closed the connection, or has ended. */
  async untilClosed(timeoutMs: number): Promise<void> {
    await inTime(
      this.#lost.catch(() => undefined),
      timeoutMs,
    );
  }

  close(): void {
    this.#socket.destroy();
  }
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const message: unknown = JSON.parse(line);
    return typeof message === 'object' && message !== null ? (message as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not JSON
  }
}

/** `promise`, or a rejection after timeoutMs. */
async function inTime<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new CommandError(`the monitor was silent for ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
