/** A VMM as a real process for tests: built bundle, private folder, its console and monitor at hand. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { guestPath, programPath } from '../../tools/programs.ts';
import { QmpClient, type QmpEvent } from '../../tools/qmp-client.ts';

export class VmmProcess {
  readonly dir = mkdtempSync(join(tmpdir(), 'livevmm-vmm-'));
  readonly qmpPath = join(this.dir, 'qmp.sock');
  readonly child: ChildProcessWithoutNullStreams;
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  output = '';
  errors = '';

  constructor(guest: string, ...args: string[]) {
    const kernel = existsSync(guest) ? guest : guestPath(guest);
    const argv = [programPath('vmm'), '-m', '64M', '--kernel', kernel, '--qmp', this.qmpPath, ...args];
    this.child = spawn(process.execPath, argv);
    this.child.stdin.on('error', () => {}); // the guest may be gone
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    this.exited = once(this.child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Resolves when the console's output matches; rejects when the process ends before. */
  async prints(pattern: RegExp): Promise<void> {
    await this.#until(() => pattern.test(this.output));
  }

  async #until(seen: () => boolean): Promise<void> {
    while (!seen()) {
      const ended = this.exited.then(([status]) => {
        if (!seen()) throw new Error(`the VMM ended (${status}): ${this.errors}`);
      });
      await Promise.race([once(this.child.stdout, 'data'), ended]);
    }
  }

  monitor(): Promise<QmpClient> {
    return QmpClient.connect(this.qmpPath);
  }

  /** The console's answer to 's': its report with this number of reports before it. */
  async stats(): Promise<Record<string, number>> {
    const reports = (): string[] => this.output.match(/@stats \{.*\}/g) ?? [];
    const before = reports().length;
    this.child.stdin.write('s');
    await this.#until(() => reports().length > before);
    return JSON.parse(reports()[before]!.slice('@stats '.length)) as Record<string, number>;
  }

  /** Ends it if it still runs; names of the files it left behind. */
  async end(): Promise<string[]> {
    this.child.kill('SIGTERM');
    await this.exited;
    const left = readdirSync(this.dir);
    rmSync(this.dir, { recursive: true });
    return left;
  }
}

/** The event that ends an update. */
export const updateEnded = ({ event, data }: QmpEvent): boolean => event === 'LIVE_UPDATE' && data.status !== 'started';
