/**
 * One client of the monitor. Its commands are executed one after the other; while one executes,
 * nothing more is read.
 */
import type { Socket } from 'node:net';

import { type ClientJson, parseJson } from './json.ts';
import { JsonInput, type JsonValue } from './json-input.ts';
import { NEGOTIATION } from './negotiation.ts';
import { readArguments } from './qapi.ts';
import {
  type Command,
  eventMessage,
  failure,
  formatLine,
  idOf,
  type Json,
  type JsonObject,
  type Message,
  readCommand,
  success,
} from './qmp.ts';
import { QmpError } from './qmp-error.ts';
import type { ConnectionState } from './state.ts';

/** A client that lets more than this wait unread is cut off. */
const MAX_UNREAD = 1 << 20;

export interface ConnectionOptions {
  /** The first message to a client. */
  readonly greeting: JsonObject;
  /** Executes a command of a client that has negotiated. */
  execute(command: Command): Promise<Json>;
  /** Is told when the client has negotiated, before its answer. */
  negotiated(): void;
}

/** A command that has no answer yet. */
interface Running {
  readonly id: ClientJson | undefined;
  /** Whether the command has been answered in another way. */
  abandoned: boolean;
}

export class Connection {
  readonly socket: Socket;
  /** The time of the client's last message: performance.now(). */
  lastUsed = performance.now();
  readonly #options: ConnectionOptions;
  #input: JsonInput;
  #negotiated: boolean;
  #running: Running | undefined;
  #executing = false;
  #held = false;
  /** Called when nothing is executing any more. */
  #idle: () => void = () => {};

  /** A new client, which gets the greeting, or a client that an earlier image left. */
  constructor(socket: Socket, options: ConnectionOptions, state?: Omit<ConnectionState, 'fd'>) {
    this.socket = socket;
    this.#options = options;
    this.#input = new JsonInput(state?.pending);
    this.#negotiated = state?.negotiated ?? false;
    socket.on('data', (chunk) => {
      this.lastUsed = performance.now();
      this.#input.push(chunk);
      this.#run();
    });
    socket.on('error', () => socket.destroy()); // the client is gone, and nobody else is concerned
    if (!state) this.#send(options.greeting);
    this.#run();
  }

  /** Whether a command of this client has no answer yet. */
  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** Tells an event to a client that wants to hear events. */
  tell(event: string, data: JsonObject | undefined): void {
    if (this.#negotiated) this.#send(eventMessage(event, data));
  }

  /** Begins no further command and reads nothing more until `release`. */
  hold(): void {
    this.#held = true;
    this.socket.pause();
  }

  /** After hold: resolves when the command that was begun has been answered. */
  async idle(): Promise<void> {
    if (!this.#executing) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Answers the command that is still executing with an error. Its own answer is dropped later. */
  abandon(reason: string): void {
    if (!this.#running) return;
    this.#running.abandoned = true;
    this.#send(failure(new QmpError(reason), this.#running.id));
    this.#running = undefined;
  }

  /** Drops the input that was received and not executed. */
  forget(): void {
    this.#input = new JsonInput();
  }

  release(): void {
    this.#held = false;
    this.#run();
  }

  /** As save, without the input that was received. */
  present(): Omit<ConnectionState, 'fd'> {
    return { negotiated: this.#negotiated, pending: new Uint8Array() };
  }

  /** To be called only while the client is held. */
  save(): Omit<ConnectionState, 'fd'> {
    // what the stream has buffered goes to our 'data' listener, once
    while (this.socket.read() !== null);
    return { negotiated: this.#negotiated, pending: this.#input.pending };
  }

  #run(): void {
    if (this.#executing) return;
    this.#executing = true;
    this.socket.pause();
    this.#executeAll()
      .catch(() => this.socket.destroy()) // a bug of ours costs the client its connection
      .finally(() => {
        this.#executing = false;
        this.#idle();
        if (!this.#held) this.socket.resume();
      });
  }

  async #executeAll(): Promise<void> {
    while (!this.#held && !this.socket.destroyed) {
      const value = this.#input.take();
      if (value === undefined) return;
      await this.#answer(value);
    }
  }

  async #answer(value: JsonValue): Promise<void> {
    const json = readValue(value);
    if (json instanceof QmpError) {
      this.#send(failure(json, undefined));
      return;
    }
    const running: Running = { id: idOf(json), abandoned: false };
    this.#running = running;
    const message = await this.#messageFor(json, running.id);
    this.#running = undefined;
    if (!running.abandoned) this.#send(message);
  }

  async #messageFor(json: ClientJson, id: ClientJson | undefined): Promise<Message> {
    try {
      return success(await this.#execute(readCommand(json)), id);
    } catch (error) {
      return failure(asQmpError(error), id);
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
    const { enable = [] } = readArguments(NEGOTIATION.args, command.arguments);
    for (const capability of enable) throw new QmpError(`Capability ${capability} not available`);
    this.#negotiated = true;
    this.#options.negotiated();
    return {};
  }

  #send(message: Message): void {
    if (this.socket.destroyed) return;
    this.socket.write(formatLine(message));
    if (this.socket.writableLength > MAX_UNREAD) this.socket.destroy();
  }
}

function readValue(value: JsonValue): ClientJson | QmpError {
  if ('error' in value) return new QmpError(value.error);
  try {
    return parseJson(value.bytes);
  } catch (error) {
    return asQmpError(error);
  }
}

const asQmpError = (error: unknown): QmpError =>
  error instanceof QmpError ? error : new QmpError((error as Error).message);
