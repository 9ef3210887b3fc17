import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { InterruptPage, InterruptPageClient } from '../../../../../iommu/abi/interrupt-page.ts';
import { DoorbellTable } from '../../../../../iommu/bus/interrupts.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../../platform/libc/eventfd.ts';
import { close, dupCloexec } from '../../../../../platform/libc/fd.ts';
import { Reservation } from '../../../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../../../platform/page.ts';
import { PageArena } from '../../../../../platform/page-arena.ts';
import { FakeFunction } from '../../../../fakes/fake-function.ts';
import { FakeVfioDevice } from '../../../../fakes/fake-vfio-device.ts';

const MSI = 1;
const NONE_TRIGGER = 0x21;
const EVENTFD_TRIGGER = 0x24;
const MSI_CAP = 0x40;

let pci: FakeFunction;
let fake: FakeVfioDevice;
let events: number[];
let arena: PageArena;
/** The doorbell as a device worker has it. */
let doorbell: DoorbellTable;
let objects: number[];
let client: InterruptPageClient;
/** `vector×count` of each that the client has taken. */
let taken: string[];
let closePage: () => void;

beforeEach(async () => {
  pci = new FakeFunction([{ index: 0, size: 4096 }]);
  pci.capabilities([5, MSI_CAP, [0x84, 0]]);
  pci.allow(MSI_CAP + 2, 2, 0x71);
  pci.allow(MSI_CAP + 4, 10, 0xffff_ffff);
  fake = new FakeVfioDevice(pci);
  events = Array.from({ length: 2 }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const { buffer } = new Reservation(4 * PAGE_SIZE);
  arena = new PageArena(buffer);
  doorbell = new DoorbellTable(fake.interrupts, buffer);
  objects = [];
  taken = [];
  await arm(...events);
  [client, closePage] = openPage();
});

afterEach(() => {
  fake.close();
  for (const fd of [...events, ...objects]) close(fd);
});

const arm = (...data: readonly number[]): Promise<unknown> => fake.setIrqs(MSI, EVENTFD_TRIGGER, { data });

/** A client's thread asks for a page, and maps it. */
function openPage(): [InterruptPageClient, () => void] {
  const end = fake.file.interruptPage!(arena, (fd) => objects.push(dupCloexec(fd)));
  const own = new PageArena(new Reservation(PAGE_SIZE).buffer).map(objects.at(-1)!);
  return [new InterruptPageClient(own.part), end];
}

/** The device sends MSI `i`. */
const message = (i: number): void => doorbell.ring(pci.readConfig(MSI_CAP + 12, 2) + i);
const take = (): void => void client.take((vector, count) => taken.push(`${vector}×${count}`));
const counts = (): number[] => events.map((fd) => eventfdRead(fd));
const raised = (): number => fake.device.info(0).interruptsRaised;

describe('an interrupt page', () => {
  it('gets the MSIs of the device while the client’s thread runs, and the eventfds get them else', () => {
    message(0);
    client.begin();
    message(1);
    message(1);
    take();
    client.end();
    message(1);

    expect([taken, counts(), raised()]).toEqual([['1×2'], [1, 1], 4]);
  });

  it('gives what nobody has taken to the eventfds when it is closed, and gets nothing more', () => {
    client.begin();
    message(0);
    message(0);
    closePage();
    message(1);
    take();

    expect([taken, counts(), raised()]).toEqual([[], [2, 1], 3]);
  });

  it('is closed with the last file of the device', () => {
    client.begin();
    message(0);
    fake.reopen();

    expect(counts()).toEqual([1, 0]);
    closePage(); // no effect
  });

  it('leaves what nobody has taken to the next kernel', () => {
    const number = pci.readConfig(MSI_CAP + 12, 2);
    client.begin();
    message(0);
    message(0);
    fake.device.leaveToNextKernel();
    fake.file.release();
    message(0);

    expect([counts(), fake.doorbells.pending(number)]).toEqual([[0, 0], 3]);
    fake.file = fake.open();
  });

  it('gives way to a later one', () => {
    client.begin();
    message(0);
    const [later] = openPage();
    message(0);
    closePage();
    later.begin();
    message(1);
    later.take((vector, count) => taken.push(`later ${vector}×${count}`));

    expect([taken, counts()]).toEqual([['later 1×1'], [2, 0]]);
  });

  it('may come to a place where a thread looks already, which uses it from its next sleep on', () => {
    const place = new PageArena(new Reservation(PAGE_SIZE).buffer).reserve();
    const waiting = new InterruptPageClient(place.part);
    waiting.begin();
    message(0);
    fake.file.interruptPage!(arena, (fd) => place.fill(fd));
    message(0);
    waiting.end();
    waiting.begin();
    message(1);
    waiting.take((vector, count) => taken.push(`${vector}×${count}`));

    expect([taken, counts()]).toEqual([['1×1'], [2, 0]]);
  });

  it('signals the old eventfd with what was posted before a vector lost it, and gets no more of that vector', async () => {
    client.begin();
    message(0);
    message(1);
    await arm(-1);
    message(0);
    take();

    expect([taken, counts()]).toEqual([['1×1'], [1, 0]]);
  });

  it('goes on when MSI is switched off and on', async () => {
    client.begin();
    message(0);
    await fake.setIrqs(MSI, NONE_TRIGGER, { count: 0 });
    await arm(...events);
    message(1);
    take();

    expect([taken, counts()]).toEqual([['1×1'], [1, 0]]);
  });

  it('keeps nobody busy with counts that a client has made up', () => {
    client.begin();
    const words = new Int32Array(new PageArena(new Reservation(PAGE_SIZE).buffer).map(objects[0]!).part.buffer);
    words[InterruptPage.word.counts] = -1;
    closePage();

    expect(counts()).toEqual([4096, 0]);
  });

  it('is not for a function without MSIs: ENODEV', () => {
    const other = new FakeVfioDevice(new FakeFunction([]));

    expect(() => other.file.interruptPage!(arena, () => {})).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    other.close();
  });
});
