/** A QEMU with a guest that speaks, and its two ways to become a new image. */
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import { CommandError } from '../cli/command.ts';
import type { QmpClient } from '../clients/qmp-client.ts';
import { qemuArgv } from '../demo/qemu/command.ts';
import { Monitors, PATIENCE_MS, untilRunning } from '../demo/qemu/monitors.ts';
import { Child } from '../launch/child.ts';

const AGAIN_MS = 10;

/** A UNIX socket as QEMU's migration takes it. */
const channel = (type: 'main' | 'cpr', path: string) => ({
  'channel-type': type,
  addr: { transport: 'socket', type: 'unix', path },
});

export class QemuCpr {
  readonly #folder: string;
  readonly #argv: readonly string[];
  readonly #monitors: Monitors;
  readonly #heard: (stdout: Readable) => void;
  #child: Child;
  #qmp: QmpClient;
  #transfers = 0;

  private constructor(
    parts: { folder: string; argv: readonly string[]; monitors: Monitors; child: Child; qmp: QmpClient },
    heard: (stdout: Readable) => void,
  ) {
    this.#folder = parts.folder;
    this.#argv = parts.argv;
    this.#monitors = parts.monitors;
    this.#child = parts.child;
    this.#qmp = parts.qmp;
    this.#heard = heard;
  }

  /** `heard` gets the output of each process. */
  static async start(folder: string, elf: string, heard: (stdout: Readable) => void): Promise<QemuCpr> {
    const path = join(folder, 'qemu-qmp');
    const monitors = await Monitors.listen(path);
    const argv = qemuArgv({ bdfs: [], elf, monitor: `unix:${path}`, updatable: true });
    const child = new Child({ name: 'QEMU', argv });
    heard(child.stdout);
    try {
      const qmp = await child.whileAlive(monitors.next());
      return new QemuCpr({ folder, argv, monitors, child, qmp }, heard);
    } catch (error) {
      await child.stop();
      monitors.close();
      throw error;
    }
  }

  async setRunning(on: boolean): Promise<void> {
    await this.#qmp.execute(on ? 'cont' : 'stop');
  }

  /** cpr-exec: the same process. */
  async exec(): Promise<void> {
    const state = `file:${join(this.#folder, 'qemu-state')}`;
    const command = [...this.#argv, '-incoming', state];
    await this.#qmp.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const next = this.#monitors.next();
    await this.#qmp.execute('migrate', { uri: state });
    this.#qmp = await this.#child.whileAlive(next);
    await untilRunning(this.#qmp);
  }

  /** cpr-transfer: to a process that waits. */
  async transfer(): Promise<void> {
    const number = ++this.#transfers;
    const channels = (['main', 'cpr'] as const).map((type) => channel(type, join(this.#folder, `${type}-${number}`)));
    const argv = [...this.#argv, ...channels.flatMap((one) => ['-incoming', JSON.stringify(one)])];
    const [old, before] = [this.#child, this.#qmp];
    this.#child = new Child({ name: 'QEMU', argv });
    this.#heard(this.#child.stdout);
    await before.execute('migrate-set-parameters', { mode: 'cpr-transfer' });
    const next = this.#monitors.next();
    await this.#child.whileAlive(whenItListens(() => before.execute('migrate', { channels })));
    this.#qmp = await this.#child.whileAlive(next);
    await untilRunning(this.#qmp);
    before.close();
    await old.stop();
  }

  async stop(): Promise<void> {
    this.#qmp.close();
    this.#monitors.close();
    await this.#child.stop();
  }
}

/** Tries until the new process listens. */
async function whenItListens(migrate: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await migrate();
      return;
    } catch (error) {
      if (!(error instanceof CommandError) || performance.now() > deadline) throw error;
      await sleep(AGAIN_MS);
    }
  }
}
