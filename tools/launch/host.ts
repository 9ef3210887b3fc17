/** `livevmm host` as a child process with a private folder for its sockets. */
import { join } from 'node:path';

import { CommandError } from '../cli/command.ts';
import { Child, type Ending } from './child.ts';
import { PrivateFolder } from './private-folder.ts';
import { programArgv } from './programs.ts';

/** Time in which a host must listen, on any machine. */
const START_MS = 60_000;

/** What `livevmm host --json` prints when it listens. */
export interface HostReady {
  readonly socket: string;
  readonly devices: readonly { readonly bdf: string; readonly name: string; readonly group: number }[];
}

export class HostProcess implements HostReady {
  readonly socket: string;
  readonly devices: HostReady['devices'];
  readonly child: Child;
  readonly #folder: PrivateFolder;

  private constructor(folder: PrivateFolder, child: Child, { socket, devices }: HostReady) {
    this.#folder = folder;
    this.child = child;
    this.socket = socket;
    this.devices = devices;
  }

  /**
   * Starts a host with these --device options and further `options`, and waits until it listens. On
   * failure nothing is left. `hear` is told each line that it says on stderr.
   */
  static async start(
    devices: readonly string[],
    options: readonly string[] = [],
    hear: (line: string) => void = () => {},
  ): Promise<HostProcess> {
    const folder = new PrivateFolder();
    const deviceOptions = devices.flatMap((device) => ['--device', device]);
    // A private host's guest may be larger than a plain user's 8 MiB.
    const words = ['--socket', join(folder.path, 'host.sock'), '--json', '--memlock', 'unlimited'];
    const argv = programArgv('livevmm', 'host', ...words, ...options, ...deviceOptions);
    const child = new Child({ name: 'the host', argv, lifeline: true });
    child.onLine('stderr', hear);
    try {
      return new HostProcess(folder, child, await inTime(child.firstDocument() as Promise<HostReady>));
    } catch (error) {
      await child.stop();
      await folder.remove();
      throw error;
    }
  }

  /** A private folder, in which its socket lies; it goes with the host. */
  get dir(): string {
    return this.#folder.path;
  }

  /**
   * Ends the host and removes the folder. Returns how it ended, or undefined when it had to be
   * killed after `graceMs`.
   */
  async stop(graceMs?: number): Promise<Ending | undefined> {
    const ending = await this.child.stop(graceMs);
    await this.#folder.remove();
    return ending;
  }
}

async function inTime<T>(ready: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new CommandError(`the host does not listen after ${START_MS / 1000} s`);
    timer = setTimeout(() => reject(error), START_MS);
  });
  return Promise.race([ready, late]).finally(() => clearTimeout(timer));
}
