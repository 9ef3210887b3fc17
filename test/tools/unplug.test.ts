/** `livevmm unplug`: a device is taken out of a running host, from whoever has it (PCI-14). */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

import type { Child } from '../../tools/launch/child.ts';
import { ClientProcess } from '../devices/clients/client-process.ts';
import { type Ended, outcome, Sandbox } from './livevmm-process.ts';

const sandbox = new Sandbox();
const socket = join(sandbox.dir, 'host.sock');
const ID = 0x0100_00ed;
const clients: ClientProcess[] = [];
let host: Child;
/** Is asked twice, 10 s apart: meanwhile the other tests run. */
let stubborn: ClientProcess;
let waiting: Promise<Ended>;

const bdfOf = (group: number): string => `0000:00:0${2 + group}.0`;
const unplug = (group: number): Child => sandbox.start('unplug', bdfOf(group), '--host', socket);

function client(group: number, times: number): ClientProcess {
  const made = new ClientProcess('asked', socket, `${group}`, bdfOf(group), `${times}`);
  clients.push(made);
  return made;
}

beforeAll(async () => {
  const edu = ['--device', 'edu'];
  host = sandbox.start('host', '--socket', socket, '--json', ...edu, ...edu, ...edu, ...edu, ...edu);
  await host.firstDocument();
  stubborn = client(0, 2);
  expect(await stubborn.says()).toBe('open');
  waiting = outcome(unplug(0));
  expect(await stubborn.says()).toEqual({ asked: 1, id: ID });
});
afterEach(async () => {
  for (const one of clients.splice(0)) if (one !== stubborn) await one.end();
});
afterAll(async () => {
  await stubborn.end();
  await host.stop();
  sandbox.remove();
});

it('PCI-14: is at once where nobody has the device open, and once', async () => {
  expect(await outcome(unplug(1))).toEqual({ status: 0, stdout: '0000:00:03.0 is unplugged\n', stderr: '' });
  expect(await outcome(unplug(1))).toEqual({
    status: 1,
    stdout: '',
    stderr: expect.stringMatching(/^livevmm: [^\n]*0000:00:03\.0[^\n]*\n$/),
  });
  const user = client(1, 1);
  await expect(user.says()).rejects.toThrow('ENOENT');
});

it('waits for a client that gives the device back', async () => {
  const user = client(2, 1);
  expect(await user.says()).toBe('open');
  const ended = outcome(unplug(2));
  expect(await user.says()).toEqual({ asked: 1, id: ID });
  expect(await ended).toEqual({ status: 0, stdout: '0000:00:04.0 is unplugged\n', stderr: '' });
  expect(await user.ended).toEqual([0, null]);
});

it('ends with a client that is killed', async () => {
  const user = client(3, 1000);
  expect(await user.says()).toBe('open');
  const ended = outcome(unplug(3));
  expect(await user.says()).toEqual({ asked: 1, id: ID });
  await user.end();
  expect(await ended).toMatchObject({ status: 0 });
});

it('goes on when nobody waits for it any more', async () => {
  const user = client(4, 1000);
  expect(await user.says()).toBe('open');
  const first = unplug(4);
  expect(await user.says()).toEqual({ asked: 1, id: ID });
  first.kill('SIGTERM');
  expect((await first.closed).signal).toBe('SIGTERM');
  await user.end();
  expect(await outcome(unplug(4))).toMatchObject({ status: 1, stderr: expect.stringContaining('no device') });
});

it('asks a client that keeps the device again, and the device works on meanwhile', async () => {
  expect(await stubborn.says()).toEqual({ asked: 1, id: ID });
  expect(await stubborn.ended).toEqual([0, null]);
  expect(await waiting).toEqual({ status: 0, stdout: '0000:00:02.0 is unplugged\n', stderr: '' });
});

it('says in one line that the host has ended meanwhile', async () => {
  const private_ = join(sandbox.dir, 'other.sock');
  const other = sandbox.start('host', '--socket', private_, '--json', '--device', 'edu');
  await other.firstDocument();
  const user = new ClientProcess('asked', private_, '0', bdfOf(0), '1000');
  clients.push(user);
  expect(await user.says()).toBe('open');
  const ended = outcome(sandbox.start('unplug', bdfOf(0), '--host', private_));
  expect(await user.says()).toEqual({ asked: 1, id: ID });
  await other.stop();
  expect(await ended).toEqual({ status: 1, stdout: '', stderr: expect.stringMatching(/^livevmm: [^\n]+\n$/) });
});
