/** QEMU's riscv `virt` machine under `livevmm with`, with devices of a host passed through. */
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { vi } from 'vitest';
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { HostClient } from '../../../tools/clients/host-client.ts';
import { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { hasCprExec, qemuArgv, qemuVersion } from '../../../tools/demo/qemu/command.ts';
import { Child } from '../../../tools/launch/child.ts';
import { GuestConsole } from '../../../tools/launch/guest-console.ts';
import { programArgv } from '../../../tools/launch/programs.ts';

/** One update as seen from outside. Times are CLOCK_MONOTONIC. */
export interface QemuUpdate {
  /** In [execNs, monitorNs) the old image was gone and the new one had not begun to listen. */
  readonly execNs: number;
  readonly monitorNs: number;
  readonly pteWrites: number;
}

export interface QemuPlan {
  readonly folder: string;
  /** Where the host listens. */
  readonly host: string;
  readonly bdfs: readonly string[];
  readonly elf: string;
}

/** A UNIX socket as QEMU's migration takes it. */
const channel = (type: 'main' | 'cpr', path: string) => ({
  'channel-type': type,
  addr: { transport: 'socket', type: 'unix', path },
});

const LIMIT = { timeout: 60_000, interval: 10 };

/** One QEMU process after another, with the same guest. */
export class QemuMachine {
  readonly host: HostClient;
  readonly #plan: QemuPlan;
  /** All that it has started. */
  readonly #children: Child[] = [];
  #isStopped = false;
  #child: Child;
  #console: GuestConsole;
  #qmp: QmpClient | undefined;
  /** Processes so far: each has a monitor of its own. */
  #processes = 1;

  /** Launches QEMU. Whoever has the machine must stop it, whatever else happens. */
  constructor(plan: QemuPlan) {
    this.#plan = plan;
    this.#child = this.#launch([]);
    this.#console = new GuestConsole(this.#child.stdout, this.#child.stdin);
    this.host = new HostClient(plan.host);
  }

  /** Resolves when the guest has greeted. */
  async begun(): Promise<void> {
    await this.#child.whileAlive(this.#console.greeting);
    this.#qmp = await QmpClient.connect(this.#path('qmp'));
  }

  get console(): GuestConsole {
    return this.#console;
  }

  get #monitor(): QmpClient {
    if (!this.#qmp) throw new Error('QEMU has not been started');
    return this.#qmp;
  }

  #path(name: string): string {
    return join(this.#plan.folder, `${name}-${this.#processes}`);
  }

  #argv(): string[] {
    const { bdfs, elf } = this.#plan;
    return qemuArgv({
      bdfs,
      elf,
      monitor: `unix:${this.#path('qmp')},server=on,wait=off`,
      updatable: hasCprExec(qemuVersion()),
    });
  }

  /** A QEMU under a supervisor of its own. */
  #launch(incoming: readonly string[]): Child {
    if (this.#isStopped) throw new Error('the machine is stopped'); // a test that timed out goes on
    const argv = programArgv('livevmm', 'with', '--host', this.#plan.host, '--', ...this.#argv(), ...incoming);
    const child = new Child({ name: 'QEMU', argv });
    this.#children.push(child);
    return child;
  }

  /** QEMU replaces itself by execve (migration mode cpr-exec). */
  async update(): Promise<QemuUpdate> {
    const before = this.#pteWrites();
    const state = `file:${this.#path('state')}`;
    const command = [...this.#argv(), '-incoming', state];
    await this.#monitor.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const gone = this.#monitor.nextEvent(() => false, LIMIT.timeout).catch(() => monotonicNs());
    await this.#monitor.execute('migrate', { uri: state });
    const execNs = (await gone) as number;
    this.#qmp = await this.#newMonitor();
    const monitorNs = monotonicNs();
    await this.#untilStatus('query-status', 'running');
    return { execNs, monitorNs, pteWrites: this.#pteWrites() - before };
  }

  /** A cpr-exec to another program than QEMU. `goes on`: QEMU still answers, and its guest runs. */
  async attempt(command: readonly string[]): Promise<'goes on' | 'is lost'> {
    const monitor = this.#monitor;
    const state = `file:${this.#path('state')}`;
    await monitor.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const gone = monitor
      .nextEvent(() => false, LIMIT.timeout)
      .then(
        () => 'goes on' as const,
        () => 'is lost' as const,
      );
    await monitor.execute('migrate', { uri: state });
    const failed = this.#untilStatus('query-migrate', 'failed').then(
      () => 'goes on' as const,
      () => gone,
    );
    const outcome = await Promise.race([gone, failed]);
    if (outcome === 'goes on') await this.#untilStatus('query-status', 'running');
    return outcome;
  }

  hostInfo(): HostInfo {
    const host = new HostClient(this.#plan.host);
    try {
      return host.ask({ op: 'info' });
    } finally {
      host.close();
    }
  }

  /**
   * Another QEMU takes the guest, with VFIO's fds (migration mode cpr-transfer); this one ends.
   * Returns how many page-table words were written.
   */
  async transfer(): Promise<number> {
    const before = this.#pteWrites();
    const old = { child: this.#child, monitor: this.#monitor };
    this.#processes++;
    const channels = [channel('main', this.#path('main')), channel('cpr', this.#path('cpr'))];
    this.#child = this.#launch(channels.flatMap((one) => ['-incoming', JSON.stringify(one)]));
    this.#console = new GuestConsole(this.#child.stdout, this.#child.stdin);
    await this.#child.whileAlive(vi.waitFor(() => statSync(this.#path('cpr')), LIMIT));
    await old.monitor.execute('migrate-set-parameters', { mode: 'cpr-transfer' });
    // The socket is there a moment before QEMU listens: connection refused.
    await vi.waitFor(() => old.monitor.execute('migrate', { channels }), LIMIT);
    await this.#untilStatus('query-migrate', 'completed');
    await old.monitor.execute('quit').catch(() => undefined); // it may end before it answers
    const { status } = await old.child.closed;
    if (status !== 0) throw new Error(`the old QEMU ended with status ${status}: ${old.child.errors}`);
    this.#qmp = await this.#newMonitor();
    await this.#untilStatus('query-status', 'running');
    return this.#pteWrites() - before;
  }

  #newMonitor(): Promise<QmpClient> {
    return this.#child.whileAlive(vi.waitFor(() => QmpClient.connect(this.#path('qmp')), LIMIT));
  }

  async #untilStatus(command: 'query-status' | 'query-migrate', wanted: string): Promise<void> {
    await vi.waitFor(async () => {
      const { status } = (await this.#monitor.execute(command)) as { status: string };
      if (status !== wanted) throw new Error(`${command}: ${status}, not ${wanted}`);
    }, LIMIT);
  }

  #pteWrites(): number {
    return this.host.ask({ op: 'info' }).units.reduce((sum, { pteWrites }) => sum + pteWrites, 0);
  }

  /** Ends each QEMU, also in the middle of a transfer or before a guest has greeted. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#qmp?.close();
    this.host.close();
    await Promise.all(this.#children.map((child) => child.stop()));
  }
}
