import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { REG } from '../../../devices/edu/regs.ts';
import {
  VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK as UNMASK,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
} from '../../../iommu/abi/vfio.ts';
import { createEventfdSources, EventfdSources } from '../../../platform/eventfd-source.ts';
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  eventfd,
  eventfdDrain,
  eventfdRead,
  eventfdSignal,
} from '../../../platform/libc/eventfd.ts';
import { close, dup } from '../../../platform/libc/fd.ts';
import { write } from '../../../platform/libc/file-bytes.ts';
import { startWorker } from '../../../platform/thread.ts';
import { irqSetArg } from '../../../vmm/client/irqs.ts';
import { type FillerWork, PAUSE, RUN, STATE, STOP, tellFiller } from './filler-words.ts';
import { useGroup } from './group-user.ts';
import { name, type TestClient } from './test-client.ts';
import { hostOfTests } from './test-host.ts';

/**
 * Eventfds in the hands of clients that do not wish the host well, on a whole host (PCI-4, PCI-5).
 */

const host = hostOfTests({ devices: [{ type: 'edu', properties: {} }], profile: '6.12' });

const int32 = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

/** The device's file, of a client that has its group. */
const openDevice = async (client: TestClient): Promise<number> => (await useGroup(client, 0, '0000:00:02.0')).device;

const eventfdArg = (index: number, action: number, fd: number): Uint8Array =>
  irqSetArg({ index, action, eventfds: [fd] });

describe('a blocking eventfd that is filled at any moment', () => {
  const [TRIGGERS, ROUNDS] = [1024, 20];
  const sourceMemory = createEventfdSources();
  const sources = new EventfdSources(sourceMemory);
  let blocking: number;
  let filler: Int32Array;
  let stopFiller: () => Promise<void>;

  beforeEach(async () => {
    blocking = eventfd(0, EFD_CLOEXEC);
    const source = sources.open(dup(blocking));
    filler = new Int32Array(new SharedArrayBuffer(8));
    const work: FillerWork = { sources: sourceMemory, source, words: filler.buffer as SharedArrayBuffer };
    const worker = startWorker('test/iommu/kernel/filler-worker', work, { name: 'filler' });
    stopFiller = async () => {
      Atomics.store(filler, STATE, STOP);
      Atomics.notify(filler, STATE);
      await once(worker, 'exit');
      sources.close(source);
    };
  });
  afterEach(async () => {
    await stopFiller();
    eventfdDrain(blocking); // a host that hangs in it goes on
    close(blocking);
  });
  afterAll(() => sources.dispose());

  it.each([
    ['MSI', VFIO_PCI_MSI_IRQ_INDEX],
    ['REQ', VFIO_PCI_REQ_IRQ_INDEX],
  ])(
    'does not stop the host, which signals %s 1 024 times in each request',
    async (_, index) => {
      const [client, other] = [await host.connect(), await host.connect()];
      const device = await openDevice(client);
      expect(await client.ioctl(device, VFIO_DEVICE_SET_IRQS, eventfdArg(index, TRIGGER, blocking))).toBe(0);
      const trigger = irqSetArg({ index });
      const args = Buffer.concat(Array.from({ length: TRIGGERS }, () => trigger));
      const request = { op: 'ioctls', fd: device, nr: VFIO_DEVICE_SET_IRQS, size: trigger.length, args };

      for (let round = 0; round < ROUNDS; round++) {
        tellFiller(filler, PAUSE);
        eventfdDrain(blocking);
        // full somewhen in the middle of the request
        write(blocking, almostFull(150 * (round + 1)));
        tellFiller(filler, RUN);
        const answer = await Promise.race([client.request(request), sleep(10_000, 'none', { ref: false })]);
        expect(answer).toMatchObject({ ret: 0, done: TRIGGERS });
      }

      expect(await openControl(other)).toBeGreaterThan(0);
    },
    60_000,
  );
});

describe('an eventfd that unmasks INTx (PCI-5)', () => {
  it('is read by the kernel, and is none any more when its user has closed it', async () => {
    const client = await host.connect();
    const device = await openDevice(client);
    const setIrqs = (arg: Uint8Array): Promise<number> => client.ioctl(device, VFIO_DEVICE_SET_IRQS, arg);
    const [irq = 0, first = 0, second = 0] = [0, 1, 2].map(() => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    expect(await setIrqs(eventfdArg(VFIO_PCI_INTX_IRQ_INDEX, TRIGGER, irq))).toBe(0);
    expect(await setIrqs(eventfdArg(VFIO_PCI_INTX_IRQ_INDEX, UNMASK, first))).toBe(0);
    await client.pwrite(device, REG.IRQ_RAISE, int32(1));
    await vi.waitUntil(() => eventfdRead(irq) === 1);

    eventfdSignal(first);
    await vi.waitUntil(() => eventfdRead(irq) === 1);
    const left = eventfdRead(first);
    const busy = name(await setIrqs(eventfdArg(VFIO_PCI_INTX_IRQ_INDEX, UNMASK, second)));
    close(first);

    expect([left, busy, await setIrqs(eventfdArg(VFIO_PCI_INTX_IRQ_INDEX, UNMASK, second))]).toEqual([0, '-EBUSY', 0]);
    close(irq);
    close(second);
  });
});

/** What write(2) adds so that there is room for `room` more. */
const almostFull = (room: number): Uint8Array =>
  new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen - BigInt(room)]).buffer);

const openControl = (client: TestClient): Promise<number> => client.open('/dev/livevmm');
