import { afterEach, expect, it } from 'vitest';

import { DONE, POSTED, RegisterPage, SERVING, whatOf } from '../../../iommu/abi/register-page.ts';
import { newPart } from '../../../platform/shared.ts';
import { RegisterAccess } from '../../../vmm/client/register-access.ts';
import type { FileCalls } from '../../../vmm/client/task-channel.ts';
import { FakeFunction } from '../../fakes/fake-function.ts';
import { FakeVfioDevice } from '../../fakes/fake-vfio-device.ts';

const BUSY = 33;
const { word } = RegisterPage;
const { now } = performance;
const { store } = Atomics;

let device: FakeVfioDevice;

afterEach(() => {
  device.close();
  performance.now = now;
  Atomics.store = store;
});

/**
 * A user of a function of vfio-pci, busy enough to have a page. The function’s worker looks at the
 * page; what it has taken there is made before it makes an access by the kernel, as in
 * devices/kit/loop.ts.
 */
function busyUser(finish: (page: Int32Array) => void) {
  const page = newPart(4096);
  const words = new Int32Array(page.buffer, page.offset, 1024);
  words[word.sizes] = 4096;
  words[word.widest] = 4;
  words[word.attentive] = 1;
  const pci = new FakeFunction([{ index: 0, size: 4096 }]);
  const { readConfig } = pci;
  device = new FakeVfioDevice(pci);
  pci.readConfig = (...cycle) => {
    finish(words);
    return readConfig.apply(pci, cycle);
  };
  const calls = {
    pread: (_fd: number, offset: number, into: Uint8Array) => {
      into.set(device.file.pread!(BigInt(offset), into.length) as Uint8Array);
      return into.length;
    },
    registerPage: () => page,
  } as unknown as FileCalls;
  const registers = new RegisterAccess(calls, 3);
  for (let i = 0; i < BUSY; i++) registers.read(0, 0, new Uint8Array(4));
  return { registers, words, memory: pci.memory.get(0)! };
}

it('a load that the worker has begun has its value, however long the worker is without a CPU', () => {
  const { registers, words } = busyUser((page) => {
    page[word.lo] = 0x1234_5678;
    page[word.state] = DONE;
  });
  performance.now = () => {
    words[word.state] = SERVING; // taken; and then nothing
    return now.call(performance) + 1000;
  };
  const bytes = new Uint8Array(4);

  registers.read(0, 8, bytes);

  expect([...bytes]).toEqual([0x78, 0x56, 0x34, 0x12]);
});

it('a store that is posted when the worker looks no more is made before write() returns', () => {
  const { registers, words } = busyUser((page) => {
    page[word.consumed] = page[word.produced]!;
  });
  Atomics.store = ((...args: Parameters<typeof store>) => {
    const result = store(...args);
    words[word.attentive] = 0; // right after the store was published
    return result;
  }) as typeof store;

  registers.write(0, 8, Uint8Array.of(1, 2, 3, 4));

  expect(words[word.produced]).toBe(1);
  expect(words[word.consumed]).toBe(1);
});

it('a store of 8 bytes passes by the page in the two pieces that the kernel would make of it', () => {
  const { registers, words } = busyUser(() => {});

  const count = registers.write(0, 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));

  expect([count, words[word.produced]]).toEqual([8, 2]);
  expect([...words.subarray(word.queue, word.queue + 8)]).toEqual([
    whatOf(0, 4),
    8,
    0x0403_0201,
    0,
    whatOf(0, 4),
    12,
    0x0807_0605,
    0,
  ]);
});

it('a load of 8 bytes has both pieces, whichever way each of them goes', () => {
  const { registers, words, memory } = busyUser(() => {});
  memory[12] = 0x9a;
  performance.now = () => {
    if (words[word.state] === POSTED) {
      words[word.lo] = 0x1234_5678;
      words[word.state] = DONE;
      words[word.attentive] = 0; // the second piece goes by the kernel
    }
    return now.call(performance);
  };
  const bytes = new Uint8Array(8);

  registers.read(0, 8, bytes);

  expect([...bytes]).toEqual([0x78, 0x56, 0x34, 0x12, 0x9a, 0, 0, 0]);
});
