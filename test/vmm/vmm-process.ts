/**
 * A VMM as a real process for tests: built bundle, private folder, its console and monitor at hand.
 */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { QmpClient, type QmpEvent } from '../../tools/clients/qmp-client.ts';
import { Child } from '../../tools/launch/child.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { vmmArgv } from '../../tools/launch/vmm.ts';

export interface VmmSetting {
  /** Name of a toy guest, or path of an ELF; absent: firmware without a kernel. */
  readonly guest?: string;
  /** A fd that stays the caller's; the console reads from it. */
  readonly stdin?: number;
  /** Variables of its environment, beside ours. */
  readonly env?: NodeJS.ProcessEnv;
  /** A program that becomes the VMM, with its words. */
  readonly under?: readonly string[];
}

export class VmmProcess {
  readonly dir = mkdtempSync(join(tmpdir(), 'livevmm-vmm-'));
  readonly qmpPath = join(this.dir, 'qmp.sock');
  readonly child: Child;
  /** Status and signal it ended with. */
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  output = '';

  constructor(what: string | VmmSetting, ...args: readonly string[]) {
    const { guest, stdin = 'pipe', env, under = [] } = typeof what === 'string' ? { guest: what } : what;
    const kernel = guest === undefined || existsSync(guest) ? guest : guestPath(guest);
    const argv = [...under, ...vmmArgv({ memory: '64M', kernel, qmp: this.qmpPath }), ...args];
    const stdio = [stdin, 'pipe', 'pipe'] as const;
    const more = env ? { env: { ...process.env, ...env } } : {};
    this.child = new Child({
      name: 'the VMM',
      argv,
      stdio,
      detached: false,
      lifeline: !args.includes('--lifeline'),
      ...more,
    });
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    this.exited = this.child.closed.then(({ status, signal }) => [status, signal]);
  }

  /** What it said on stderr. */
  get errors(): string {
    return this.child.errors;
  }

  get pid(): number {
    return this.child.pid;
  }

  /** Resolves when the console's output matches; rejects when the process ends before. */
  async prints(pattern: RegExp): Promise<void> {
    await this.#until(() => pattern.test(this.output));
  }

  /** Resolves when the console's output is that long; rejects when the process ends before. */
  async printsBytes(length: number): Promise<void> {
    await this.#until(() => this.output.length >= length);
  }

  async #until(seen: () => boolean): Promise<void> {
    while (!seen()) {
      const ended = this.exited.then(([status]) => {
        if (!seen()) throw new Error(`the VMM ended (${status}): ${this.errors}`);
      });
      await Promise.race([once(this.child.stdout, 'data'), ended]);
    }
  }

  /** A client of its monitor, as soon as that listens; rejects when the process ends before. */
  async monitor(): Promise<QmpClient> {
    await this.#bound();
    return QmpClient.connect(this.qmpPath);
  }

  async #bound(): Promise<void> {
    const watcher = watch(this.dir);
    const ended = this.exited.then(([status]) => {
      throw new Error(`the VMM ended (${status}): ${this.errors}`);
    });
    ended.catch(() => {}); // nobody may be waiting any more
    try {
      while (!existsSync(this.qmpPath)) await Promise.race([once(watcher, 'change'), ended]);
    } finally {
      watcher.close();
    }
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
