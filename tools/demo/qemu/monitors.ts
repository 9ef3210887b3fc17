/** The monitors of one QEMU image after the other. */
import { createServer, type Server, type Socket } from 'node:net';

import { CommandError } from '../../cli/command.ts';
import { QmpClient } from '../../clients/qmp-client.ts';

/** Any step of QEMU's: its start, an update. */
export const PATIENCE_MS = 60_000;

/** Resolves when the guest runs. */
export async function untilRunning(qmp: QmpClient): Promise<void> {
  const resumed = qmp.nextEvent(({ event }) => event === 'RESUME', PATIENCE_MS);
  resumed.catch(() => {}); // nobody waits for it where the guest runs already
  const { running } = (await qmp.execute('query-status')) as { readonly running: boolean };
  if (!running) await resumed;
}

/** Where QEMU connects its monitor, in each image anew. */
export class Monitors {
  readonly #server: Server;
  readonly #arrived: Socket[] = [];
  #waiting: ((socket: Socket) => void) | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      socket.on('error', () => socket.destroy()); // 'close' follows
      if (this.#waiting) this.#waiting(socket);
      else this.#arrived.push(socket);
      this.#waiting = undefined;
    });
  }

  static listen(path: string): Promise<Monitors> {
    const server = createServer();
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => resolve(new Monitors(server)));
    });
  }

  /** The next connection, ready for commands. */
  async next(): Promise<QmpClient> {
    const socket =
      this.#arrived.shift() ??
      (await new Promise<Socket>((resolve, reject) => {
        const timer = setTimeout(() => reject(new CommandError('QEMU has not opened its monitor')), PATIENCE_MS);
        this.#waiting = (arrived) => {
          clearTimeout(timer);
          resolve(arrived);
        };
      }));
    return QmpClient.on(socket);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#arrived) socket.destroy();
  }
}
