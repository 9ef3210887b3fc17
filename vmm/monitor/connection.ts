/** One client of the monitor. Commands are executed one after the other; while one runs, nothing more is read. */
import type { Socket } from 'node:net';

import { JsonInput } from './json-input.ts';
import {
  type Command,
  eventMessage,
  failure,
  formatLine,
  idOf,
  type Json,
  type JsonObject,
  parseCommand,
  QmpError,
  success,
} from './qmp.ts';
import type { ConnectionState } from './state.ts';

/** A client that lets more than this wait unread is cut off. */
const MAX_UNREAD = 1 << 20;

export interface ConnectionOptions {
  /** What a client is greeted with. */
  readonly greeting: JsonObject;
  /** Executes a command of a client that has negotiated. */
  execute(command: Command): Promise<Json>;
}

export class Connection {
  readonly socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #input: JsonInput;
  #negotiated: boolean;
  #executing = false;
  #held = false;

  /** A new client, which is greeted, or one that an earlier image left. */
  constructor(socket: Socket, options: ConnectionOptions, state?: Omit<ConnectionState, 'fd'>) {
    this.socket = socket;
    this.#options = options;
    this.#input = new JsonInput(state?.pending);
    this.#negotiated = state?.negotiated ?? false;
    socket.on('data', (chunk) => {
      this.#input.push(chunk);
      void this.#run();
    });
    socket.on('error', () => socket.destroy()); // the client is gone, and nobody else is concerned
    if (!state) this.#send(options.greeting);
    void this.#run();
  }

  /** Tells an event to a client that wants to hear events. */
  tell(event: string, data: JsonObject | undefined): void {
    if (this.#negotiated) this.#send(eventMessage(event, data));
  }

  /** Executes and reads nothing more until `release`. */
  hold(): void {
    this.#held = true;
    this.socket.pause();
  }

  release(): void {
    this.#held = false;
    void this.#run();
  }

  /** Only while held. */
  save(): Omit<ConnectionState, 'fd'> {
    const buffered: Buffer | null = this.socket.read();
    if (buffered) this.#input.push(buffered);
    return { negotiated: this.#negotiated, pending: this.#input.pending };
  }

  async #run(): Promise<void> {
    if (this.#executing) return;
    this.#executing = true;
    this.socket.pause();
    while (!this.#held && !this.socket.destroyed) {
      const value = this.#input.take();
      if (value === undefined) break;
      if ('error' in value) this.#send(failure(new QmpError(value.error), undefined));
      else await this.#answer(value.text);
    }
    this.#executing = false;
    if (!this.#held) this.socket.resume();
  }

  async #answer(text: string): Promise<void> {
    try {
      const command = parseCommand(text);
      this.#send(success(await this.#execute(command), command.id));
    } catch (error) {
      const qmpError = error instanceof QmpError ? error : new QmpError((error as Error).message);
      this.#send(failure(qmpError, idOf(text)));
    }
  }

  async #execute(command: Command): Promise<Json> {
    if (command.execute !== 'qmp_capabilities') {
      if (this.#negotiated) return this.#options.execute(command);
      throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
    }
    if (this.#negotiated) {
      throw new QmpError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
    }
    this.#negotiated = true;
    return {};
  }

  #send(message: JsonObject): void {
    if (this.socket.destroyed) return;
    this.socket.write(formatLine(message));
    if (this.socket.writableLength > MAX_UNREAD) this.socket.destroy();
  }
}
