import { MessageChannel } from 'node:worker_threads';

import { describe, expect, it } from 'vitest';

import { entryUrl } from '../../platform/entry.ts';
import { startWorker } from '../../platform/thread.ts';

describe('startWorker', () => {
  it('runs a TypeScript entry with its data, shared memory included', async () => {
    const buffer = new SharedArrayBuffer(8);
    const worker = startWorker('test/platform/echo-worker', buffer, { name: 'echo' });

    const code = await new Promise((resolve) => worker.once('exit', resolve));

    expect([code, new Uint8Array(buffer)[0]]).toEqual([0, 42]);
  });

  it('hands over ports of the transfer list', async () => {
    const { port1, port2 } = new MessageChannel();
    const worker = startWorker('test/platform/port-worker', port2, { name: 'port', transferList: [port2] });

    const answer = new Promise((resolve) => port1.once('message', resolve));
    // it may end before the answer is here
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    port1.postMessage(20);

    expect(await answer).toBe(21);
    await ended;
    port1.close();
  });

  it('says which entry there is none of', () => {
    expect(() => startWorker('platform/nothing', 0, { name: 'x' })).toThrow('platform/nothing');
  });
});

describe('entryUrl', () => {
  it('is the source file in a source tree', () => {
    expect(entryUrl('platform/thread').pathname).toMatch(/\/platform\/thread\.ts$/);
  });
});
