/** QEMU's q35 machine with KVM under `livevmm with`, a guest that reads words, and an edu. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';

import { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { Child } from '../../../tools/launch/child.ts';
import { programArgv } from '../../../tools/launch/programs.ts';

export interface X86Plan {
  readonly folder: string;
  /** QEMU's command, in words. */
  readonly qemu: readonly string[];
  readonly kernel: string;
  readonly initrd: string;
}

const WITH = ['with', '--memlock', 'unlimited', '--profile', '6.12', '--device', 'edu,flr=on,intx=off', '--'];
const LIMIT = { timeout: 60_000, interval: 50 };

export class X86Machine {
  readonly #argv: readonly string[];
  readonly #state: string;
  readonly #monitor: string;
  readonly #child: Child;
  #said = '';

  /** Launches QEMU. Whoever has the machine must stop it, whatever else happens. */
  constructor({ folder, qemu, kernel, initrd }: X86Plan) {
    this.#state = join(folder, 'state');
    this.#monitor = join(folder, 'qmp');
    this.#argv = [
      ...qemu,
      ...['-machine', 'q35,accel=kvm,memory-backend=ram0,aux-ram-share=on', '-m', '512M'],
      ...['-object', 'memory-backend-memfd,id=ram0,size=512M,share=on', '-display', 'none', '-nodefaults'],
      ...['-serial', 'stdio', '-qmp', `unix:${this.#monitor},server=on,wait=off`, '-no-reboot'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet'],
      ...['-device', 'vfio-pci,host=0000:00:02.0,addr=5'],
    ];
    this.#child = new Child({ name: 'QEMU', argv: programArgv('livevmm', ...WITH, ...this.#argv) });
    this.#child.stdout.on('data', (text: Buffer) => {
      this.#said += text.toString('latin1');
    });
  }

  /** Waits until the guest has said `text`, behind the first `from` characters. */
  async hears(text: string, from = 0): Promise<void> {
    const heard = vi.waitFor(() => {
      if (!this.#said.slice(from).includes(text)) throw new Error(`not '${text}' but: ${this.#said.slice(from)}`);
    }, LIMIT);
    await this.#child.whileAlive(heard);
  }

  /** Says a word to the guest, and waits until it is done and has said `answer`. */
  async say(word: string, answer = ''): Promise<void> {
    const from = this.#said.length;
    this.#child.stdin.write(`${word}\n`);
    await this.hears(`done ${word}`, from);
    await this.hears(answer, from);
  }

  /** QEMU replaces itself by execve (migration mode cpr-exec). */
  async update(): Promise<void> {
    const old = await QmpClient.connect(this.#monitor);
    const command = [...this.#argv, '-incoming', `file:${this.#state}`];
    await old.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const gone = old.nextEvent(() => false, LIMIT.timeout).catch(() => 'gone');
    await old.execute('migrate', { uri: `file:${this.#state}` });
    await this.#child.whileAlive(gone);
    const next = await this.#child.whileAlive(vi.waitFor(() => QmpClient.connect(this.#monitor), LIMIT));
    await vi.waitFor(async () => {
      const { status } = (await next.execute('query-status')) as { status: string };
      if (status !== 'running') throw new Error(`the guest is not running but ${status}`);
    }, LIMIT);
    next.close();
    rmSync(this.#state, { force: true });
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }
}
