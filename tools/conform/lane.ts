/** One host with the recorded machine, and the next client, which is waiting already. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

import { type Board, startHost } from '../../devices/board/host.ts';
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { programArgv, programPath } from '../launch/programs.ts';
import { CaseProcess, type Played } from './case-process.ts';
import type { Assignment } from './client/protocol.ts';
import { buildNativeClient, type NativeWay } from './native/build.ts';
import { NATIVE_FLAG } from './native/flag.ts';
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
  /** The command line of client number `n`. */
  readonly client: (n: number) => readonly string[];
  readonly board: Board;
  readonly socketPath: string;
  readonly devices: Assignment['devices'];
}

export class Lane {
  readonly #folder: PrivateFolder;
  readonly #board: Board;
  readonly #socketPath: string;
  readonly #devices: Assignment['devices'];
  readonly #client: LaneParts['client'];
  #clients = 0;
  #next: CaseProcess;
  #playing: CaseProcess | undefined;

  private constructor({ folder, client, board, socketPath, devices }: LaneParts) {
    this.#folder = folder;
    this.#board = board;
    this.#socketPath = socketPath;
    this.#devices = devices;
    this.#client = client;
    this.#next = this.#newClient();
  }

  #newClient(): CaseProcess {
    return new CaseProcess(this.#client(this.#clients++));
  }

  /**
   * With `throughSyscalls` each client lets a native one make the calls, under a supervisor of its
   * own.
   */
  static async start(profile: ProfileName, machine: RecordedMachine, throughSyscalls: NativeWay | null): Promise<Lane> {
    const folder = new PrivateFolder();
    const { path: dir } = folder;
    try {
      const isRoot = process.getuid!() === 0;
      if (isRoot) chmodSync(dir, ANYBODY_MAY_PASS);
      const socketPath = join(dir, 'host.sock');
      const client = throughSyscalls ? clientWithNative(dir, socketPath, throughSyscalls) : clientFor(dir, isRoot);
      const board = await startHost({ ...machine.options, socketPath, profile });
      if (isRoot) chmodSync(socketPath, ANYBODY_MAY_CONNECT);
      return new Lane({ folder, client, board, socketPath, devices: machine.devices });
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  async play({ steps }: VectorCase): Promise<Played> {
    const client = this.#next;
    this.#playing = client;
    this.#next = this.#newClient();
    return client.play({ socketPath: this.#socketPath, devices: this.#devices, steps });
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

/** The command line of a client that every user may run when it has root's rights to become one. */
function clientFor(dir: string, isRoot: boolean): LaneParts['client'] {
  const program = isRoot ? openProgram(dir) : programPath('conform-client');
  return () => [process.execPath, program];
}

/** Command lines of clients whose native ones connect to them in `dir`. */
function clientWithNative(dir: string, host: string, { linkage, mapRegisters }: NativeWay): LaneParts['client'] {
  const native = buildNativeClient(dir, linkage);
  const options = mapRegisters ? ['--map-registers'] : [];
  return (n) => programArgv('conform-client', NATIVE_FLAG, native, host, join(dir, `client-${n}.sock`), ...options);
}
