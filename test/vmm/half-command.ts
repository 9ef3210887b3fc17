/** A client of a monitor that has sent half of a command: an update must not lose it. */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export class HalfCommand {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** Resolves when the monitor has half of a `query-status`. */
  static async send(path: string): Promise<HalfCommand> {
    const client = new HalfCommand(connect(path));
    await client.#next(); // the greeting
    client.#socket.write('{"execute": "qmp_capabilities"} {"execute": "query-sta');
    const answer = await client.#next();
    if (answer !== '{"return": {}}') throw new Error(`the answer to qmp_capabilities is ${answer}`);
    return client;
  }

  /** Sends the other half; all lines up to the answer, which is the last. */
  async finish(): Promise<string[]> {
    this.#socket.write('tus", "id": "late"}');
    const lines: string[] = [];
    while (!lines.at(-1)?.includes('"id": "late"')) lines.push(await this.#next());
    this.#socket.destroy();
    return lines;
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the monitor has closed the connection');
    return String(value);
  }
}
