/**
 * A client of the monitor as somebody writes it for QEMU, who knows nothing of livevmm: one command
 * at a time, and the events beside.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

type Json = Readonly<Record<string, unknown>>;

export class QmpScript {
  /** Events so far, with their status where they have one: `MIGRATION setup`. */
  readonly events: string[] = [];
  readonly #socket: Socket;
  readonly #answers: Json[] = [];
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {}); // 'close' follows
    socket.once('close', () => this.#take({ error: { desc: 'the connection was closed' } }));
    createInterface({ input: socket }).on('line', (line) => this.#take(JSON.parse(line)));
  }

  static async connect(path: string): Promise<QmpScript> {
    const socket = connect(path);
    await once(socket, 'connect');
    const script = new QmpScript(socket);
    await script.#next(); // the greeting
    await script.cmd('qmp_capabilities');
    return script;
  }

  async cmd(execute: string, args?: Json): Promise<Json> {
    this.#socket.write(JSON.stringify({ execute, ...(args ? { arguments: args } : {}) }));
    const answer = await this.#next();
    if (answer.error) throw new Error((answer.error as { desc: string }).desc);
    return answer.return as Json;
  }

  /** Asks again and again until the migration has come to an end, and returns the last answer. */
  async migrationEnds(): Promise<Json> {
    for (;;) {
      const info = await this.cmd('query-migrate');
      if (['completed', 'failed', 'cancelled'].includes(String(info.status))) return info;
      await sleep(20);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(message: Json): void {
    if (typeof message.event === 'string') {
      const { status } = (message.data ?? {}) as Json;
      this.events.push(status === undefined ? message.event : `${message.event} ${status}`);
      return;
    }
    this.#answers.push(message);
    this.#wake();
  }

  async #next(): Promise<Json> {
    while (this.#answers.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#answers.shift()!;
  }
}
