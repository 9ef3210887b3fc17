/** The VMM of a test file: each test has a fresh one that runs the demo guest. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';

import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 90_000;

export class DemoVmm {
  /** A private folder, for successors. */
  folder!: string;
  vmm!: VmmProcess;
  qmp!: QmpClient;
  /** The events so far; LIVE_UPDATE with its status. */
  readonly events: string[] = [];

  /** To be called in the test file, or in a `describe`. The VMM must leave nothing behind. */
  static forEachTest(...args: readonly string[]): DemoVmm {
    const demo = new DemoVmm();
    beforeEach(() => demo.#start(args));
    afterEach(() => demo.#end());
    return demo;
  }

  async #start(args: readonly string[]): Promise<void> {
    this.folder = mkdtempSync(join(tmpdir(), 'livevmm-successor-'));
    this.vmm = new VmmProcess('demo', ...args);
    await this.vmm.prints(/demo: .*\n/);
    this.qmp = await this.vmm.monitor();
    this.events.length = 0;
    this.qmp.listen(({ event, data }) => {
      this.events.push(event === 'LIVE_UPDATE' ? `${event} ${data.status}` : event);
    });
  }

  async #end(): Promise<void> {
    this.qmp.close();
    const left = await this.vmm.end();
    rmSync(this.folder, { recursive: true });
    expect(left).toEqual([]);
  }

  /** Updates; the content of the event that ends it. Rejects when it is refused at once. */
  async update(args: Readonly<Record<string, unknown>> = {}): Promise<Readonly<Record<string, unknown>>> {
    const [{ data }] = await Promise.all([this.updateEnds(), this.qmp.execute('live-update', args)]);
    return data;
  }

  /** The event that ends the update which is under way, or is about to begin. */
  updateEnds(): ReturnType<QmpClient['nextEvent']> {
    return this.qmp.nextEvent(updateEnded, TIMEOUT_MS);
  }

  /** Begins an update; resolves when the guest runs again. */
  async resumed(args: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const resume = this.qmp.nextEvent(({ event }) => event === 'RESUME', TIMEOUT_MS);
    await Promise.all([this.qmp.execute('live-update', args), resume]);
  }
}
