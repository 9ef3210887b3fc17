/** One host with the recorded machine, and the next client already waiting. */
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { type Board, startHost } from '../../devices/board/host.ts';
import type { ProfileName } from '../../iommu/kernel/profile.ts';
import { privateDir } from '../sockets.ts';
import type { Assignment } from './client/protocol.ts';
import { ClientProcess, type Played } from './client-process.ts';
import type { RecordedMachine } from './recorded-machine.ts';
import type { VectorCase } from './vector-file.ts';

/** A client that is another user after `setuid` still has to reach the socket after an exec. */
const ANYBODY_MAY_PASS = 0o711;
const ANYBODY_MAY_CONNECT = 0o666;

export class Lane {
  readonly #dir: string;
  readonly #board: Board;
  readonly #socketPath: string;
  readonly #devices: Assignment['devices'];
  #next = new ClientProcess();
  #playing: ClientProcess | undefined;

  private constructor(dir: string, board: Board, socketPath: string, { devices }: RecordedMachine) {
    this.#dir = dir;
    this.#board = board;
    this.#socketPath = socketPath;
    this.#devices = devices;
  }

  static async start(profile: ProfileName, machine: RecordedMachine): Promise<Lane> {
    const dir = privateDir();
    try {
      const socketPath = join(dir, 'host.sock');
      const board = await startHost({ ...machine.options, socketPath, profile });
      if (process.getuid!() === 0) {
        chmodSync(dir, ANYBODY_MAY_PASS);
        chmodSync(socketPath, ANYBODY_MAY_CONNECT);
      }
      return new Lane(dir, board, socketPath, machine);
    } catch (error) {
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }

  async play({ steps }: VectorCase): Promise<Played> {
    const client = this.#next;
    this.#playing = client;
    this.#next = new ClientProcess();
    return client.play({ socketPath: this.#socketPath, devices: this.#devices, steps });
  }

  /** Rejects when the host's kernel has ended by itself. */
  async failed(): Promise<never> {
    throw new Error(await this.#board.failed);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#next.stop(), this.#playing?.stop()]);
    await this.#board.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
