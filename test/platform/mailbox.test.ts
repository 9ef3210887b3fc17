import type { Worker } from 'node:worker_threads';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { MAILBOX_BYTES, MailboxClient, MailboxServer, REGION_CONFIG, ringBell } from '../../platform/mailbox.ts';
import { startWorker } from '../../platform/thread.ts';
import type { MailboxClientData } from './mailbox-client.ts';
import type { MailboxWorkerData } from './mailbox-worker.ts';

// The values of mailbox-worker.ts, which is an entry and cannot be imported.
const SERVE = 0;
const HOLD = 1;
const STOP = 2;

describe('a mailbox with a server in another thread', () => {
  let mailbox: SharedArrayBuffer;
  let words: Int32Array;
  let worker: Worker;

  const set = (state: number): void => {
    Atomics.store(words, 0, state);
    ringBell(mailbox);
    for (let acts = Atomics.load(words, 2); acts !== state; acts = Atomics.load(words, 2)) {
      Atomics.wait(words, 2, acts, 1000); // woken by the server
    }
  };
  const handled = (): number => Atomics.load(words, 1);

  beforeAll(() => {
    mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
    const control = new SharedArrayBuffer(12);
    words = new Int32Array(control);
    worker = startWorker<MailboxWorkerData>('test/platform/mailbox-worker', { mailbox, control }, { name: 'mailbox' });
  });
  afterAll(async () => {
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    set(STOP);
    await exited;
  });

  it('carries reads and writes of 1 to 8 bytes, to BARs and config space', () => {
    const client = new MailboxClient(mailbox, 20_000);
    client.write(0, 8, 8, 0xdeadbeef, 0xf1234567);
    client.write(REGION_CONFIG, 8, 4, 0x80000001);

    expect(client.read(0, 8, 8)).toEqual({ lo: 0xdeadbeef, hi: 0xf1234567 });
    expect(client.read(REGION_CONFIG, 8, 4)).toEqual({ lo: 0x80000001, hi: 0 });
    expect(client.timeouts).toBe(0);
  });

  it('reads all ones when the device does not answer in time (completion time-out), and works again afterwards', () => {
    const patient = new MailboxClient(mailbox, 20_000);
    patient.write(0, 0, 4, 7);
    const client = new MailboxClient(mailbox, 30);
    set(HOLD);

    expect(client.read(0, 0, 4)).toEqual({ lo: 0xffffffff, hi: 0xffffffff });
    expect(client.timeouts).toBe(1);
    set(SERVE);

    expect(patient.read(0, 0, 4).lo).toBe(7);
  });

  it('does not carry out an access that its requester has given up', () => {
    const patient = new MailboxClient(mailbox, 20_000);
    patient.write(0, 0, 4, 7);
    const client = new MailboxClient(mailbox, 20);
    set(HOLD);
    client.write(0, 0, 4, 8);
    const before = handled();
    set(SERVE);

    expect(patient.read(0, 0, 4).lo).toBe(7);
    expect(handled()).toBe(before + 1);
  });

  it('gives back abandoned slots: more requests than slots time out, and then all is well', () => {
    const patient = new MailboxClient(mailbox, 20_000);
    patient.write(0, 0, 4, 7);
    const client = new MailboxClient(mailbox, 5);
    set(HOLD);
    for (let i = 0; i < 20; i++) client.read(0, 0, 4);
    expect(client.timeouts).toBe(20);
    set(SERVE);

    expect(Array.from({ length: 20 }, () => patient.read(0, 0, 4).lo)).toEqual(new Array(20).fill(7));
  });

  it('serves several threads at once, each in its own order', async () => {
    const count = 100;
    const before = handled();
    const clients = [64, 72, 80].map((offset) =>
      startWorker<MailboxClientData>('test/platform/mailbox-client', { mailbox, offset, count }, { name: 'client' }),
    );

    const good = await Promise.all(clients.map((c) => new Promise((resolve) => c.once('message', resolve))));

    expect(good).toEqual([count, count, count]);
    expect(handled() - before).toBe(3 * 2 * count);
  });
});

describe('MailboxServer', () => {
  it('has nothing to serve in an empty mailbox; ringBell changes the word it sleeps on', () => {
    const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
    const server = new MailboxServer(mailbox);
    const seen = server.bell();

    expect(server.serve({ read: () => ({ lo: 0, hi: 0 }), write: () => {} })).toBe(false);
    ringBell(mailbox);
    server.wait(seen, 60_000); // returns at once

    expect(server.bell()).toBe(seen + 1);
  });
});
