/**
 * Posted messages of MSI-X (PCI-12), with edu of the kit behind it: raising bit n sends vector n.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';

import { device as edu } from '../../../../../devices/edu/device.ts';
import { REG } from '../../../../../devices/edu/regs.ts';
import { InterruptPageClient, PAGE_VECTORS } from '../../../../../iommu/abi/interrupt-page.ts';
import { DoorbellTable } from '../../../../../iommu/bus/interrupts.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../../platform/libc/eventfd.ts';
import { close, dupCloexec } from '../../../../../platform/libc/fd.ts';
import { Reservation } from '../../../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../../../platform/page.ts';
import { PageArena } from '../../../../../platform/page-arena.ts';
import { EndpointFunction } from '../../../../fakes/endpoint-function.ts';
import { FakeVfioDevice } from '../../../../fakes/fake-vfio-device.ts';

const MSI = 1;
const MSIX = 2;
const NONE_TRIGGER = 0x21;
const EVENTFD_TRIGGER = 0x24;
const LAST = PAGE_VECTORS - 1;

let pci: EndpointFunction;
let fake: FakeVfioDevice;
/** As the device worker has it. */
let doorbell: DoorbellTable;
let events: number[];
let objects: number[];
let client: InterruptPageClient;
/** `vector×count` of each that the client has taken. */
let taken: string[];
let closePage: () => void;

beforeEach(async () => {
  pci = new EndpointFunction(edu, { msix: String(PAGE_VECTORS) });
  fake = new FakeVfioDevice(pci);
  const { buffer } = new Reservation(2 * PAGE_SIZE);
  doorbell = new DoorbellTable(fake.interrupts, buffer);
  pci.ring = (number) => doorbell.ring(number);
  fake.write(7, 4, '0600');
  events = Array.from({ length: 3 }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  objects = [];
  taken = [];
  await arm(0, events[0]!, events[1]!);
  closePage = fake.file.interruptPage!(new PageArena(buffer), (fd) => objects.push(dupCloexec(fd)));
  client = new InterruptPageClient(new PageArena(new Reservation(PAGE_SIZE).buffer).map(objects[0]!).part);
});

afterEach(() => {
  fake.close();
  for (const fd of [...events, ...objects]) close(fd);
});

const arm = (start: number, ...data: readonly number[]): Promise<unknown> =>
  fake.setIrqs(MSIX, EVENTFD_TRIGGER, { start, data });
const raise = (vector: number): void => void pci.writeBar(0, REG.IRQ_RAISE, 4, { lo: 2 ** vector, hi: 0 });
/** The message of a vector that no bit of edu sends. */
const send = (vector: number): void => doorbell.ring(pci.readBar(1, 16 * vector + 8, 4).lo);
const take = (): void => void client.take((vector, count) => taken.push(`${vector}×${count}`));
const counts = (): number[] => events.map((fd) => eventfdRead(fd));

it('gets the messages of each vector while the client’s thread runs, up to the last one', async () => {
  await arm(LAST, events[2]!);
  client.begin();
  raise(0);
  raise(1);
  raise(1);
  send(LAST);
  take();
  client.end();
  send(LAST);

  expect([taken, counts()]).toEqual([
    ['0×1', '1×2', `${LAST}×1`],
    [0, 0, 1],
  ]);
});

it('gives what nobody has taken to the eventfd of a vector that is masked, and the device keeps the next one', async () => {
  client.begin();
  raise(1);
  await arm(1, -1);
  raise(1);
  take();
  const masked = [[...taken], counts()];
  await arm(1, events[1]!);
  take();

  expect([masked, taken, counts()]).toEqual([[[], [0, 1, 0]], ['1×1'], [0, 0, 0]]);
});

it('gives what nobody has taken to the eventfds when it is closed', async () => {
  await arm(LAST, events[2]!);
  client.begin();
  raise(0);
  send(LAST);
  send(LAST);
  closePage();
  raise(1);

  expect([taken, counts()]).toEqual([[], [1, 1, 2]]);
});

it('goes on when the function changes from MSI-X to MSI', async () => {
  client.begin();
  raise(1);
  await fake.setIrqs(MSIX, NONE_TRIGGER, { count: 0 });
  await fake.setIrqs(MSI, EVENTFD_TRIGGER, { data: [events[2]!] });
  raise(0);
  take();

  expect([taken, counts()]).toEqual([['0×1'], [0, 1, 0]]);
});
