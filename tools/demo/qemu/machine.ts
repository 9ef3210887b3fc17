/** A QEMU under `livevmm with` that replaces itself by execve (migration mode cpr-exec). */
import { join } from 'node:path';

import { monotonicNs } from '../../../platform/clock.ts';
import { CommandError } from '../../cli/command.ts';
import { HostClient } from '../../clients/host-client.ts';
import type { QmpClient } from '../../clients/qmp-client.ts';
import { Child } from '../../launch/child.ts';
import { GuestConsole } from '../../launch/guest-console.ts';
import { HostProcess, type HostReady } from '../../launch/host.ts';
import { programArgv } from '../../launch/programs.ts';
import { qemuArgv } from './command.ts';
import { Monitors, PATIENCE_MS, untilRunning } from './monitors.ts';
import { pollingGuest } from './polling-guest.ts';

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
    await untilRunning(this.#qmp);
    return { goneNs, backNs };
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
