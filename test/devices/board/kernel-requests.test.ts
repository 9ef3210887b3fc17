import { MessageChannel, type MessagePort } from 'node:worker_threads';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Errands, KernelRequests } from '../../../devices/board/kernel-requests.ts';
import { MemoryMap } from '../../../devices/board/memory-map.ts';
import { awaitBoardReply, createBoardReply } from '../../../iommu/bus/board-reply.ts';
import type { BoardAnswer, BoardRequest } from '../../../iommu/kernel/board/protocol.ts';
import { ebusy } from '../../../platform/errno.ts';
import { createMemory } from '../../../platform/memory.ts';

describe('requests of the kernel', () => {
  const calls: string[] = [];
  const errands: Errands = {
    ramHash: async (sliceBytes) => ({ objects: [{ dev: 1, ino: 2, size: sliceBytes, slices: ['ab'] }] }),
    loadKernel: async (target) => void calls.push(`load ${target}`),
    unloadKernel: async () => void calls.push('unload'),
    kexec: async () => ({ keeps: true }),
    sentMessages: () => new Map([[0x10, 3]]),
    halt: async (bdf, on) => void calls.push(`halt ${bdf} ${on}`),
    inject: (bdf, defect) => {
      calls.push(`inject ${bdf} ${defect}`);
      throw ebusy('not now');
    },
  };
  let memory: MemoryMap;
  let requests: KernelRequests;
  let kernel: MessagePort;
  const reply = createBoardReply();

  beforeEach(() => {
    const channel = new MessageChannel();
    kernel = channel.port2;
    memory = new MemoryMap(() => {});
    requests = new KernelRequests(channel.port1, reply, memory, errands);
    calls.length = 0;
  });
  afterEach(() => {
    requests.close();
    memory.close();
  });

  /** As the kernel's thread, but without blocking this one, which answers. */
  async function call(request: BoardRequest & { readonly seq: number }): Promise<number> {
    kernel.postMessage(request);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      try {
        return awaitBoardReply(reply, request.seq, 0);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ETIMEDOUT') throw error;
      }
    }
  }

  const answerTo = (request: BoardRequest): Promise<BoardAnswer> =>
    new Promise((resolve) => {
      kernel.once('message', resolve);
      kernel.postMessage(request);
    });

  it('attach-object answers the first pfn of the range; detach drops it', async () => {
    const fd = createMemory('object', 8192);

    const pfn = await call({ op: 'attach-object', seq: 1, fd, size: 8192, dev: 0, ino: 0 });
    const attached = memory.ranges();
    await call({ op: 'detach', seq: 2, start: pfn * 4096 });

    expect(attached).toMatchObject([{ kind: 'ram', start: pfn * 4096, size: 8192 }]);
    expect(memory.ranges()).toEqual([]);
  });

  it('what cannot be done is answered with its errno', async () => {
    const fd = createMemory('object', 4096);

    await expect(call({ op: 'attach-object', seq: 3, fd, size: 8192, dev: 0, ino: 0 })).rejects.toMatchObject({
      code: 'EFAULT',
    });
    await expect(call({ op: 'detach', seq: 4, start: 4096 })).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('errands are answered by id, with a reply or an errno', async () => {
    const hash = await answerTo({ op: 'ram-hash', id: 5, sliceBytes: 4096 });
    const sent = await answerTo({ op: 'sent-messages', id: 8 });
    const stop = await answerTo({ op: 'stop-device', id: 6, bdf: 0x10 });
    const inject = await answerTo({ op: 'inject', id: 7, bdf: 0x18, defect: 'drop-interrupt' });

    const load = await answerTo({ op: 'load-kernel', id: 9, target: '/other' });
    const unload = await answerTo({ op: 'unload-kernel', id: 10 });
    const kexec = await answerTo({ op: 'kexec', id: 11, target: undefined });

    expect(hash).toEqual({ id: 5, reply: { objects: [{ dev: 1, ino: 2, size: 4096, slices: ['ab'] }] } });
    expect(sent).toEqual({ id: 8, reply: new Map([[0x10, 3]]) });
    expect(stop).toEqual({ id: 6, reply: {} });
    expect(inject).toEqual({ id: 7, errno: 16, message: 'not now' });
    expect([load, unload, kexec]).toEqual([
      { id: 9, reply: {} },
      { id: 10, reply: {} },
      { id: 11, reply: { keeps: true } },
    ]);
    expect(calls).toEqual(['halt 16 true', 'inject 24 drop-interrupt', 'load /other', 'unload']);
  });
});
