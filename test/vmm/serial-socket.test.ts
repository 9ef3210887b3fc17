/** A guest whose serial line is a UNIX socket: clients stay over updates. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;

let folder: string;
let path: string;
let vmm: VmmProcess;
let qmp: QmpClient;
const clients: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-serial-'));
  path = join(folder, 'line');
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  qmp.close();
  expect(await vmm.end()).toEqual([]);
  expect(existsSync(path)).toBe(false);
  rmSync(folder, { recursive: true });
});

async function start(...words: readonly string[]): Promise<void> {
  vmm = new VmmProcess('demo', ...words);
  qmp = await vmm.monitor();
}

class Client {
  readonly #socket: Socket = connect(path);
  #text = '';

  constructor() {
    this.#socket.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
    clients.push(this.#socket);
  }

  /** The guest's answer to 's': its count of heartbeats. */
  async heartbeats(): Promise<number> {
    this.#text = '';
    this.#socket.write('s');
    for (;;) {
      const found = /"heartbeats":(\d+)[^\n]*\n/.exec(this.#text);
      if (found) return Number(found[1]);
      await once(this.#socket, 'data');
    }
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  async end(): Promise<void> {
    this.#socket.end();
    await once(this.#socket, 'close');
  }
}

async function update(mode: string, probation = 0): Promise<void> {
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await qmp.execute('live-update', { mode, probation });
  expect((await ended).data).toMatchObject({ status: 'completed' });
}

describe('a guest whose line leads to a socket', () => {
  it.each([
    ['-serial unix', ['--serial', 'unix:PATH,server=on,wait=off']],
    ['a chardev', ['--chardev', 'socket,id=c,path=PATH,server=on,wait=off', '--serial', 'chardev:c']],
  ])('by %s talks to one client after the other, and through updates', async (_, words) => {
    await start(...words.map((word) => word.replace('PATH', path)));
    const first = new Client();
    let beats = await first.heartbeats();
    for (const mode of ['exec', 'transfer']) {
      await update(mode);
      const now = await first.heartbeats();
      expect(now).toBeGreaterThan(beats);
      beats = now;
    }
    await qmp.execute('stop');
    first.write('s'); // it waits in the socket, or in the guest's console
    await update('exec');
    await qmp.execute('cont');
    await first.heartbeats();
    await first.end();
    const second = new Client();
    expect(await second.heartbeats()).toBeGreaterThan(beats);
    second.write('x');
    expect(await vmm.exited).toEqual([0, null]);
    expect(vmm.output).toBe('');
  });

  it('takes a new client when its VMM was killed and the guardian runs it', async () => {
    await start('--guardian', 'always', '--serial', `unix:${path},server=on,wait=off`);
    await standingGuardian(qmp, TIMEOUT_MS);
    const beats = await new Client().heartbeats();
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(vmm.pid, 'SIGKILL');
    await taken;
    expect(await new Client().heartbeats()).toBeGreaterThan(beats);
  });

  it('has no output at all with -serial null', async () => {
    await start('--serial', 'null');
    await update('exec');
    expect(vmm.output).toBe('');
  });
});
