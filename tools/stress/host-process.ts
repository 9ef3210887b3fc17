/** The host of a shard: a process of its own, whose every word on stderr and whose end is a failure until it is told to end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { programPath } from '../launch/programs.ts';
import type { AssignedDevice } from './client/assignment.ts';

const START_MS = 60_000;

export interface HostPlan {
  /** --device options. */
  readonly devices: readonly string[];
  readonly profile: ProfileName;
  /** It has something to say, or has ended. */
  readonly onTrouble: (text: string) => void;
}

export class HostProcess {
  readonly socketPath: string;
  readonly devices: readonly AssignedDevice[];
  readonly #folder: PrivateFolder;
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;
  #stopping = false;

  private constructor(folder: PrivateFolder, child: ChildProcess, exited: Promise<string>, ready: Ready) {
    this.#folder = folder;
    this.#child = child;
    this.#exited = exited;
    this.socketPath = ready.socket;
    this.devices = ready.devices;
  }

  /** Resolves when it listens; on an error nothing is left. */
  static async start({ devices, profile, onTrouble }: HostPlan): Promise<HostProcess> {
    const folder = new PrivateFolder();
    const socket = join(folder.path, 'host.sock');
    const options = ['host', '--json', '--socket', socket, '--vfio-profile', profile, '--memlock', 'unlimited'];
    options.push('--lifeline', '0'); // its stdin ends with us
    const args = [programPath('livevmm'), ...options, ...devices.flatMap((device) => ['--device', device])];
    // In a session of its own, so that Ctrl-C reaches us alone and we end it in order.
    const child = spawn(process.execPath, args, { stdio: 'pipe', detached: true });
    child.stdin.on('error', () => {}); // it has ended; `exited` says so
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (status, signal) => resolve(signal ?? `status ${status}`));
    });
    createInterface({ input: child.stderr! }).on('line', (line) => onTrouble(`the host says: ${line}`));
    try {
      const host = new HostProcess(folder, child, exited, await readyLine(child, exited));
      void exited.then((how) => {
        if (!host.#stopping) onTrouble(`the host has ended with ${how}`);
      });
      return host;
    } catch (error) {
      child.kill('SIGKILL');
      await exited;
      await folder.remove();
      throw error;
    }
  }

  /** For a defect on purpose. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Asks it to end: how it did, or undefined when it had to be killed after `patienceMs`. */
  async stop(patienceMs: number): Promise<string | undefined> {
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      this.#child.kill('SIGKILL');
    }, patienceMs);
    const how = await this.#exited;
    clearTimeout(timer);
    await this.#folder.remove();
    return killed ? undefined : how;
  }
}

interface Ready {
  readonly socket: string;
  readonly devices: readonly AssignedDevice[];
}

/** The JSON line that tells that it listens. */
function readyLine(child: ChildProcess, exited: Promise<string>): Promise<Ready> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the host does not listen after ${START_MS / 1000} s`)), START_MS);
    createInterface({ input: child.stdout! }).once('line', (line) => {
      clearTimeout(timer);
      resolve(JSON.parse(line) as Ready);
    });
    void exited.then((how) => {
      clearTimeout(timer);
      reject(new Error(`the host has ended with ${how} before it listened`));
    });
  });
}
