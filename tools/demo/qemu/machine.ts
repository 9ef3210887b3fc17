/** A QEMU under `livevmm with` that replaces itself by execve (migration mode cpr-exec). */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

import { monotonicNs } from '../../../platform/clock.ts';
import { CommandError } from '../../cli/command.ts';
import { HostClient } from '../../clients/host-client.ts';
import { QmpClient } from '../../clients/qmp-client.ts';
import { Child } from '../../launch/child.ts';
import { GuestConsole } from '../../launch/guest-console.ts';
import { HostProcess, type HostReady } from '../../launch/host.ts';
import { programArgv } from '../../launch/programs.ts';
import { qemuArgv } from './command.ts';
import { pollingGuest } from './polling-guest.ts';

/** Any step of QEMU's: its start, an update. */
const PATIENCE_MS = 60_000;

/** [goneNs, backNs), CLOCK_MONOTONIC: no process of this guest was there. */
export interface Replacement {
  /** The old image has closed its monitor. */
  readonly goneNs: number;
  /** The new image has opened its monitor. */
  readonly backNs: number;
}

export class QemuMachine {
  readonly host: HostClient;
  readonly console: GuestConsole;
  readonly #hostProcess: HostProcess;
  readonly #child: Child;
  readonly #monitors: Monitors;
  readonly #argv: readonly string[];
  #qmp: QmpClient;

  private constructor(hostProcess: HostProcess, parts: Parts) {
    this.#hostProcess = hostProcess;
    this.host = new HostClient(hostProcess.socket);
    this.console = parts.console;
    this.#child = parts.child;
    this.#monitors = parts.monitors;
    this.#argv = parts.argv;
    this.#qmp = parts.qmp;
  }

  /** Starts a host with these devices, and QEMU with a guest that has all of them. */
  static async start(devices: readonly string[], hostOptions: readonly string[]): Promise<QemuMachine> {
    const hostProcess = await HostProcess.start(devices, hostOptions);
    let child: Child | undefined;
    let monitors: Monitors | undefined;
    try {
      const path = join(hostProcess.dir, 'qmp');
      monitors = await Monitors.listen(path);
      const bdfs = hostProcess.devices.map(({ bdf }) => bdf);
      const argv = qemuArgv({ bdfs, elf: pollingGuest(hostProcess.dir), monitor: `unix:${path}`, updatable: true });
      child = new Child({
        name: 'QEMU',
        argv: programArgv('livevmm', 'with', '--host', hostProcess.socket, '--', ...argv),
      });
      const console = new GuestConsole(child.stdout, child.stdin);
      const qmp = await child.whileAlive(monitors.next());
      await child.whileAlive(console.greeting);
      return new QemuMachine(hostProcess, { child, console, monitors, argv, qmp });
    } catch (error) {
      await child?.stop();
      monitors?.close();
      await hostProcess.stop();
      throw error;
    }
  }

  get devices(): HostReady['devices'] {
    return this.#hostProcess.devices;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** One update. CommandError: QEMU's words when it fails; the guest then runs in the old image. */
  update(): Promise<Replacement> {
    return this.#child.whileAlive(this.#update());
  }

  async #update(): Promise<Replacement> {
    const old = this.#qmp;
    const state = `file:${join(this.#hostProcess.dir, 'state')}`;
    const command = [...this.#argv, '-incoming', state];
    await old.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const next = this.#monitors.next();
    next.catch(() => {}); // told below, unless the migration tells more
    const gone = old.untilClosed(PATIENCE_MS).then(monotonicNs);
    await old.execute('migrate', { uri: state });
    const goneNs = await gone.catch(async () => {
      const info = (await old.execute('query-migrate')) as { readonly 'error-desc'?: string };
      throw new CommandError(`QEMU: ${info['error-desc'] ?? 'it has not replaced itself'}`);
    });
    this.#qmp = await next;
    const backNs = monotonicNs();
    await this.#untilRunning();
    return { goneNs, backNs };
  }

  async #untilRunning(): Promise<void> {
    const resumed = this.#qmp.nextEvent(({ event }) => event === 'RESUME', PATIENCE_MS);
    resumed.catch(() => {}); // nobody waits for it where the guest runs already
    const { running } = (await this.#qmp.execute('query-status')) as { readonly running: boolean };
    if (!running) await resumed;
  }

  async stop(): Promise<void> {
    this.#qmp.close();
    this.#monitors.close();
    this.host.close();
    await this.#child.stop();
    await this.#hostProcess.stop();
  }
}

interface Parts {
  readonly child: Child;
  readonly console: GuestConsole;
  readonly monitors: Monitors;
  readonly argv: readonly string[];
  readonly qmp: QmpClient;
}

/** Where QEMU connects its monitor, in each image anew. */
class Monitors {
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
