/** One host with the recorded machine, and the next client, which is waiting already. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

import { type Board, startHost } from '../../devices/board/host.ts';
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { programArgv, programPath } from '../launch/programs.ts';
import { CaseProcess, type Played } from './case-process.ts';
import type { Assignment } from './client/protocol.ts';
import { openProgram } from './open-program.ts';
import type { RecordedMachine } from './recorded-machine.ts';
import type { VectorCase } from './vector-file.ts';

/**
 * Modes for a client that has become another user by `setuid`: it must still reach the socket after
 * an exec.
 */
const ANYBODY_MAY_PASS = 0o711;
const ANYBODY_MAY_CONNECT = 0o666;

interface LaneParts {
  readonly folder: PrivateFolder;
  /** The command line of a client. */
  readonly client: readonly string[];
  readonly board: Board;
  readonly socketPath: string;
  readonly devices: Assignment['devices'];
  readonly throughSyscalls: boolean;
}

export class Lane {
  readonly #folder: PrivateFolder;
  readonly #board: Board;
  readonly #socketPath: string;
  readonly #devices: Assignment['devices'];
  readonly #client: readonly string[];
  readonly #throughSyscalls: boolean;
  #next: CaseProcess;
  #playing: CaseProcess | undefined;

  private constructor({ folder, client, board, socketPath, devices, throughSyscalls }: LaneParts) {
    this.#folder = folder;
    this.#board = board;
    this.#socketPath = socketPath;
    this.#devices = devices;
    this.#client = client;
    this.#throughSyscalls = throughSyscalls;
    this.#next = new CaseProcess(client);
  }

  /** With `throughSyscalls` each client is under a supervisor of its own. */
  static async start(profile: ProfileName, machine: RecordedMachine, throughSyscalls: boolean): Promise<Lane> {
    const folder = new PrivateFolder();
    const { path: dir } = folder;
    try {
      const isRoot = process.getuid!() === 0;
      if (isRoot) chmodSync(dir, ANYBODY_MAY_PASS);
      const program = isRoot ? openProgram(dir) : programPath('conform-client');
      const socketPath = join(dir, 'host.sock');
      const board = await startHost({ ...machine.options, socketPath, profile });
      if (isRoot) chmodSync(socketPath, ANYBODY_MAY_CONNECT);
      const supervisor = throughSyscalls ? programArgv('livevmm', 'with', '--host', socketPath, '--') : [];
      const client = [...supervisor, process.execPath, program];
      return new Lane({ folder, client, board, socketPath, devices: machine.devices, throughSyscalls });
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  async play({ steps }: VectorCase): Promise<Played> {
    const client = this.#next;
    this.#playing = client;
    this.#next = new CaseProcess(this.#client);
    return client.play({
      ...{ socketPath: this.#socketPath, devices: this.#devices, steps },
      throughSyscalls: this.#throughSyscalls,
    });
  }

  /** Rejects when the host's kernel has ended by itself. */
  async failed(): Promise<never> {
    throw new Error(await this.#board.failed);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#next.stop(), this.#playing?.stop()]);
    await this.#board.stop();
    await this.#folder.remove();
  }
}
