import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  eventfd,
  eventfdRead,
  eventfdSignal,
} from '../../../../../platform/libc/eventfd.ts';
import { close, dupCloexec } from '../../../../../platform/libc/fd.ts';
import { FakeFunction } from '../../../../fakes/fake-function.ts';
import { FakeVfioDevice, NOT_AN_EVENTFD, NOT_OPEN } from '../../../../fakes/fake-vfio-device.ts';
import { canRing } from '../../../../platform/rings.ts';

const INTX = 0;
const MSI = 1;
const MSIX = 2;
const ERR = 3;
const REQ = 4;

const NONE = 1;
const BOOL = 2;
const EVENTFD = 4;
const MASK = 8;
const UNMASK = 0x10;
const TRIGGER = 0x20;

const CONFIG = 7;
const COMMAND = 4;
const MSI_CAP = 0x40;

let pci: FakeFunction;
let fake: FakeVfioDevice;
let events: number[];

/** MSI with 4 vectors, INTA. */
function build(profile: '5.12' | '6.12' = '6.12'): void {
  pci = new FakeFunction([{ index: 0, size: 4096 }]);
  pci.capabilities([5, MSI_CAP, [0x84, 0]]);
  pci.allow(MSI_CAP + 2, 2, 0x71);
  pci.allow(MSI_CAP + 4, 10, 0xffff_ffff);
  pci.allow(MSI_CAP + 8, 4, 0xffff_ffff);
  pci.allow(MSI_CAP + 12, 2, 0xffff);
  fake = new FakeVfioDevice(pci, profile);
}

beforeEach(() => {
  build();
  events = Array.from({ length: 4 }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
});

afterEach(() => {
  fake.close();
  for (const fd of events) close(fd);
});

const counts = (): number[] => events.map((fd) => eventfdRead(fd));
/** A new eventfd, with two fds. */
function twice(): [number, number] {
  const fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return [fd, dupCloexec(fd)];
}

/** The device sends MSI `i`. */
const message = (i: number): void => fake.doorbells.ring(pci.readConfig(MSI_CAP + 12, 2) + i);
const msiEnabled = (): boolean => (pci.readConfig(MSI_CAP + 2, 2) & 1) !== 0;

describe('SET_IRQS: checks (PCI-3)', () => {
  it.each([
    ['a DATA flag too many', INTX, NONE | BOOL | TRIGGER, { count: 0 }, '-EINVAL'],
    ['no DATA flag', INTX, TRIGGER, { count: 0 }, '-EINVAL'],
    ['an unknown flag', INTX, 0x40 | NONE | TRIGGER, { count: 0 }, '-EINVAL'],
    ['an index there is not', 5, NONE | TRIGGER, { count: 0 }, '-EINVAL'],
    ['a start behind the last', INTX, NONE | TRIGGER, { start: 1, count: 0 }, '-EINVAL'],
    ['more than there are', MSI, EVENTFD | TRIGGER, { data: [-1, -1, -1, -1, -1] }, '-EINVAL'],
    ['start + count that wraps', MSI, NONE | TRIGGER, { start: 1, count: 0xffff_ffff }, '-EINVAL'],
    ['less data than said', MSI, EVENTFD | TRIGGER, { count: 2, data: [-1] }, '-EINVAL'],
    ['an index without interrupts', MSIX, EVENTFD | TRIGGER, { data: [-1] }, '-EINVAL'],
    ['ERR without PCIe', ERR, EVENTFD | TRIGGER, { data: [-1] }, '-EINVAL'],
    ['no ACTION', INTX, NONE, { count: 1 }, '-ENOTTY'],
    ['two ACTIONs', MSI, NONE | MASK | TRIGGER, { count: 1 }, '-ENOTTY'],
    ['MASK of MSI', MSI, NONE | MASK, { count: 1 }, '-ENOTTY'],
    ['UNMASK of REQ', REQ, NONE | UNMASK, { count: 1 }, '-ENOTTY'],
    ['MASK of INTx that is not enabled', INTX, NONE | MASK, { count: 1 }, '-EINVAL'],
    ['UNMASK of INTx that is not enabled', INTX, NONE | UNMASK, { count: 1 }, '-EINVAL'],
    ['TRIGGER of INTx that is not enabled', INTX, NONE | TRIGGER, { count: 1 }, '-EINVAL'],
    ['TRIGGER of MSI that is not enabled', MSI, BOOL | TRIGGER, { data: [1] }, '-EINVAL'],
    ['disabling what is not enabled', MSI, NONE | TRIGGER, { count: 0 }, '-EINVAL'],
    ['no MSI by eventfd', MSI, EVENTFD | TRIGGER, { count: 0 }, '-ERANGE'],
  ] as const)('%s: index %i, flags 0x%s', async (_, index, flags, fields, expected) => {
    expect(await fake.setIrqs(index, flags, fields)).toBe(expected);
  });

  it.each([
    [INTX, NOT_OPEN, '-EBADF'],
    [INTX, NOT_AN_EVENTFD, '-EINVAL'],
    [MSI, NOT_OPEN, '-EBADF'],
    [MSI, NOT_AN_EVENTFD, '-EINVAL'],
    [REQ, NOT_OPEN, '-EBADF'],
    [REQ, NOT_AN_EVENTFD, '-EINVAL'],
  ])('index %i with fd %i is %s, and nothing is enabled by it', async (index, fd, expected) => {
    expect(await fake.setIrqs(index, EVENTFD | TRIGGER, { data: [fd] })).toBe(expected);

    expect(await fake.setIrqs(index, NONE | TRIGGER, { count: 0 })).toBe('-EINVAL');
    expect(msiEnabled()).toBe(false);
  });

  it.each([
    ['5.12', INTX, 0],
    ['6.12', INTX, 0],
    ['6.12', MSI, 0],
    ['5.12', REQ, 0],
    ['6.12', REQ, '-EINVAL'],
  ] as const)('profile %s, index %i: eventfd −2 is %s', async (profile, index, expected) => {
    build(profile);

    expect(await fake.setIrqs(index, EVENTFD | TRIGGER, { data: [-2] })).toBe(expected);
  });
});

describe('MSI', () => {
  it('is programmed with the doorbell and routes each vector to its eventfd', async () => {
    expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!, -1] })).toBe(0);

    expect(pci.readConfig(MSI_CAP + 4, 4)).toBe(0xfee0_0000);
    expect(pci.readConfig(MSI_CAP + 2, 2)).toBe(0x00a5); // 64 bit, 4 of 4 vectors, enabled
    message(0);
    message(1);
    message(1);
    message(2);
    expect(counts()).toEqual([1, 2, 0, 0]);
    expect(fake.device.info(4)).toMatchObject({ interruptsSent: 4, interruptsRaised: 3, interruptsDropped: 1 });
  });

  it('lets its doorbell go when it is disabled, once for all its vectors (RSV-8)', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!] });
    expect(fake.doorbell.users).toBe(1);

    await fake.setIrqs(MSI, NONE | TRIGGER, { count: 0 });

    expect(fake.doorbell.users).toBe(0);
  });

  it('is not enabled where its doorbell has no place, and keeps no vector then (RSV-8)', async () => {
    fake.doorbell.refuses = true;
    for (let i = 0; i < 65; i++) {
      expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] })).toBe('-ENOSPC');
    }
    expect(msiEnabled()).toBe(false);
    fake.doorbell.refuses = false;
    fake.doorbell.iova = 0x12_0000_8000;

    expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] })).toBe(0);

    expect([pci.readConfig(MSI_CAP + 4, 4), pci.readConfig(MSI_CAP + 8, 4)]).toEqual([0x8000, 0x12]);
  });

  it('has no message on its way when it is disabled', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!] });
    const before = fake.fences;
    await fake.setIrqs(MSI, NONE | TRIGGER, { count: 0 });
    expect(fake.fences).toBe(before + 1);
  });

  it('PCI-9: is torn down at the last close when the device can DMA no more', async () => {
    fake.write(CONFIG, COMMAND, '0600');
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });
    const canDma = (): boolean => (pci.config[COMMAND]! & 4) !== 0;
    expect(canDma()).toBe(true);
    const atFences: boolean[] = [];
    fake.onFence = () => void atFences.push(canDma());
    fake.file.release();
    expect(atFences).toEqual([false]);
    fake.file = fake.open();
  });

  it('does not show in the user’s control register', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });

    expect(fake.read(CONFIG, MSI_CAP, 4)).toBe('05008400');
  });

  it('stops when the user clears its control register, capability bits included', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });

    fake.write(CONFIG, MSI_CAP + 2, '0000');

    expect(msiEnabled()).toBe(false);
    expect(fake.read(CONFIG, MSI_CAP + 2, 2)).toBe('0000');
  });

  it('moves a vector to another eventfd, or to none; the old one is closed after a fence', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });
    expect(fake.fences).toBe(0);

    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[1]!] });
    message(0);
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [-1] });
    message(0);

    expect(counts()).toEqual([0, 1, 0, 0]);
    expect(fake.fences).toBe(2);
  });

  it('can be raised by the user, those with a count of the mask only (PCI-4)', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!] });

    expect(await fake.setIrqs(MSI, BOOL | TRIGGER, { data: [0, 1] })).toBe(0);
    expect(await fake.setIrqs(MSI, NONE | TRIGGER, { start: 0, count: 1 })).toBe(0);

    expect(counts()).toEqual([1, 1, 0, 0]);
  });

  it.each([
    ['5.12', '-EINVAL', '-EINVAL'],
    ['6.12', 0, '-EINVAL'],
  ] as const)(
    'PCI-12: beyond those that are enabled on %s: raising and disarming is %s, arming %s',
    async (profile, disarmed, armed) => {
      build(profile);
      await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!] });

      expect(await fake.setIrqs(MSI, NONE | TRIGGER, { start: 2, count: 1 })).toBe(disarmed);
      expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { start: 2, data: [-1] })).toBe(disarmed);
      expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { start: 2, data: [events[2]!] })).toBe(armed);
    },
  );

  it('RACE-18: triggering a vector without eventfd, or one that has lost it, does nothing', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [-1, events[1]!] });
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { start: 1, data: [-1] });

    expect(await fake.setIrqs(MSI, NONE | TRIGGER, { start: 0, count: 2 })).toBe(0);
    expect(await fake.setIrqs(MSI, BOOL | TRIGGER, { data: [1, 1] })).toBe(0);
    message(0);

    expect(counts()).toEqual([0, 0, 0, 0]);
  });

  it('a bad fd in a block leaves the ones before it without trigger', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!, events[1]!] });

    expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[2]!, NOT_OPEN] })).toBe('-EBADF');

    message(0);
    message(1);
    expect(counts()).toEqual([0, 0, 0, 0]);
    expect(msiEnabled()).toBe(true);
  });

  it('excludes INTx and the other way round', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });
    expect(await fake.setIrqs(INTX, EVENTFD | TRIGGER, { data: [events[1]!] })).toBe('-EINVAL');
    expect(await fake.setIrqs(MSI, NONE | TRIGGER, { count: 0 })).toBe(0);

    expect(await fake.setIrqs(INTX, EVENTFD | TRIGGER, { data: [events[1]!] })).toBe(0);

    expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] })).toBe('-EINVAL');
  });

  it('gives its vectors back when it is disabled, and keeps its counts', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });
    message(0);
    await fake.setIrqs(MSI, NONE | TRIGGER, { count: 0 });
    expect(fake.vectors.allocate(64)).toBe(0);
    fake.vectors.free(0, 64);

    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });
    message(0);

    expect(fake.device.info(1).interruptsRaised).toBe(2);
  });

  it('is ENOSPC when the doorbell has no vectors left', async () => {
    fake.vectors.allocate(64);

    expect(await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] })).toBe('-ENOSPC');
    fake.vectors.free(0, 64);
  });

  it('is off after the last close', async () => {
    await fake.setIrqs(MSI, EVENTFD | TRIGGER, { data: [events[0]!] });

    fake.reopen();

    expect(msiEnabled()).toBe(false);
    expect(await fake.setIrqs(INTX, EVENTFD | TRIGGER, { data: [events[1]!] })).toBe(0);
  });
});

describe('INTx (PCI-4, PCI-5)', () => {
  const arm = (): Promise<number | string> => fake.setIrqs(INTX, EVENTFD | TRIGGER, { data: [events[0]!] });
  const unmask = (): Promise<number | string> => fake.setIrqs(INTX, NONE | UNMASK, { count: 1 });

  it('fires once and masks itself; unmasking fires again while the level is up', async () => {
    await arm();
    fake.line.assert();
    expect(counts()[0]).toBe(1);

    await unmask();
    expect(counts()[0]).toBe(1);

    fake.line.deassert();
    await unmask();
    expect(counts()[0]).toBe(0);
    fake.line.assert();
    expect(counts()[0]).toBe(1);
  });

  it('waits while it is masked', async () => {
    await arm();
    await fake.setIrqs(INTX, BOOL | MASK, { data: [1] });

    fake.line.assert();
    expect(counts()[0]).toBe(0);

    await unmask();
    expect(counts()[0]).toBe(1);
  });

  it('BOOL 0 does nothing', async () => {
    await arm();
    await fake.setIrqs(INTX, BOOL | MASK, { data: [0] });
    await fake.setIrqs(INTX, BOOL | TRIGGER, { data: [0] });

    fake.line.assert();

    expect(counts()[0]).toBe(1);
  });

  it('is masked by INTx disable in the user’s command, too', async () => {
    await arm();
    fake.write(CONFIG, COMMAND, '0204');
    fake.line.assert();
    await unmask();
    expect(counts()[0]).toBe(0);

    fake.write(CONFIG, COMMAND, '0200');

    expect(counts()[0]).toBe(1);
  });

  it('is held back from the start when COMMAND had INTx disabled before (PCI-9)', async () => {
    fake.write(CONFIG, COMMAND, '0204');
    await arm();

    fake.line.assert();
    const before = counts()[0];
    fake.write(CONFIG, COMMAND, '0200');

    expect([before, counts()[0]]).toEqual([0, 1]);
  });

  it('has no loop-back while COMMAND disables it', async () => {
    await arm();
    const trigger = (): Promise<number | string> => fake.setIrqs(INTX, NONE | TRIGGER, { count: 1 });
    fake.write(CONFIG, COMMAND, '0204');
    expect(await trigger()).toBe(0);
    const before = counts()[0];
    fake.write(CONFIG, COMMAND, '0200');
    expect(await trigger()).toBe(0);

    expect([before, counts()[0]]).toEqual([0, 1]);
  });

  it('is not unmasked by an eventfd while COMMAND disables it', async () => {
    await arm();
    await fake.setIrqs(INTX, EVENTFD | UNMASK, { data: [events[1]!] });
    fake.write(CONFIG, COMMAND, '0204');
    fake.line.assert();
    eventfdSignal(events[1]!);
    // what was signalled has been carried out
    await fake.setIrqs(INTX, EVENTFD | UNMASK, { data: [-1] });

    expect(counts()[0]).toBe(0);
  });

  it('that was disabled by COMMAND is not for the next who opens the device', async () => {
    await arm();
    fake.write(CONFIG, COMMAND, '0204');

    fake.reopen();
    await arm();
    fake.line.assert();

    expect(counts()[0]).toBe(1);
  });

  it('RACE-18: masked and unmasked without INTx being enabled is EINVAL', async () => {
    expect(await fake.setIrqs(INTX, BOOL | MASK, { data: [1] })).toBe('-EINVAL');
    expect(await fake.setIrqs(INTX, NONE | TRIGGER, { count: 1 })).toBe('-EINVAL');
    await arm();
    await fake.setIrqs(INTX, NONE | TRIGGER, { count: 0 });
    fake.line.assert();
    expect(await unmask()).toBe('-EINVAL');
    expect(counts()).toEqual([0, 0, 0, 0]);
  });

  it('a new eventfd does not unmask it', async () => {
    await arm();
    fake.line.assert();

    await fake.setIrqs(INTX, EVENTFD | TRIGGER, { data: [events[1]!] });

    expect(counts()).toEqual([1, 0, 0, 0]);
  });

  it('cannot be masked by an eventfd', async () => {
    await arm();

    expect(await fake.setIrqs(INTX, EVENTFD | MASK, { data: [events[1]!] })).toBe('-ENOTTY');
  });

  it('is unmasked by an eventfd, which is consumed; one at a time', async () => {
    await arm();
    const eventfdUnmask = (fd: number): Promise<number | string> =>
      fake.setIrqs(INTX, EVENTFD | UNMASK, { data: [fd] });
    expect(await eventfdUnmask(events[1]!)).toBe(0);
    expect(await eventfdUnmask(events[2]!)).toBe('-EBUSY');
    fake.line.assert();
    expect(counts()[0]).toBe(1);

    eventfdSignal(events[1]!);

    await vi.waitUntil(() => eventfdRead(events[0]!) === 1);
    expect(eventfdRead(events[1]!)).toBe(0);
    expect(await eventfdUnmask(-1)).toBe(0);
    eventfdSignal(events[1]!);
    await sleep(1); // a turn of the event loop: nothing may come
    expect(counts()).toEqual([0, 1, 0, 0]);
  });

  const unmaskBy = (fd: number): Promise<number | string> => fake.setIrqs(INTX, EVENTFD | UNMASK, { data: [fd] });

  it('is told of a signal that came before its eventfd was taken away', async () => {
    await arm();
    await unmaskBy(events[1]!);
    fake.line.assert();

    eventfdSignal(events[1]!);
    expect(await unmaskBy(-1)).toBe(0);

    expect([fake.line.raised(), eventfdRead(events[1]!)]).toEqual([2, 0]);
  });

  it('can have another unmasking eventfd when the last one has been closed, and not while somebody has it open', async () => {
    await arm();
    const [mine, copy] = twice();
    await unmaskBy(mine);
    close(mine);
    const before = await unmaskBy(events[2]!);
    close(copy);

    expect([before, await unmaskBy(events[2]!)]).toEqual(['-EBUSY', 0]);

    fake.line.assert();
    eventfdSignal(events[2]!);
    await vi.waitUntil(() => fake.line.raised() === 2);
  });

  it.skipIf(!canRing)(
    'does not keep an eventfd open that is to be signalled, so that it ends as one that unmasks',
    async () => {
      await arm();
      const [mine, copy] = twice();
      close(copy);
      await unmaskBy(mine);
      await fake.setIrqs(REQ, EVENTFD | TRIGGER, { data: [mine] });

      close(mine);

      expect(await unmaskBy(events[2]!)).toBe(0);
      expect(await fake.setIrqs(REQ, NONE | TRIGGER, { count: 1 })).toBe(0);
    },
  );

  it.skipIf(!canRing)('is unmasked by an eventfd that is closed right after it was signalled', async () => {
    await arm();
    const [mine, copy] = twice();
    close(copy);
    await unmaskBy(mine);
    fake.line.assert();

    eventfdSignal(mine);
    close(mine);

    await vi.waitUntil(() => fake.line.raised() === 2);
  });

  it('takes an unmasking eventfd that was signalled before', async () => {
    await arm();
    fake.line.assert();
    eventfdSignal(events[1]!);

    await fake.setIrqs(INTX, EVENTFD | UNMASK, { data: [events[1]!] });

    await vi.waitUntil(() => fake.line.raised() === 2);
  });
});

describe('REQ', () => {
  it('stores an eventfd, which its loop-back signals', async () => {
    expect(await fake.setIrqs(REQ, NONE | TRIGGER, { count: 1 })).toBe('-EINVAL');
    expect(await fake.setIrqs(REQ, BOOL | TRIGGER, { data: [1] })).toBe(0);
    await fake.setIrqs(REQ, EVENTFD | TRIGGER, { data: [events[0]!] });

    await fake.setIrqs(REQ, NONE | TRIGGER, { count: 1 });
    await fake.setIrqs(REQ, BOOL | TRIGGER, { data: [1] });
    await fake.setIrqs(REQ, BOOL | TRIGGER, { data: [0] });

    expect(counts()[0]).toBe(2);
    expect(await fake.setIrqs(REQ, NONE | TRIGGER, { count: 0 })).toBe(0);
    expect(await fake.setIrqs(REQ, NONE | TRIGGER, { count: 0 })).toBe('-EINVAL');
  });

  it('of the last who had the device open is not signalled by the next', async () => {
    await fake.setIrqs(REQ, EVENTFD | TRIGGER, { data: [events[0]!] });

    fake.reopen();

    expect(await fake.setIrqs(REQ, NONE | TRIGGER, { count: 1 })).toBe('-EINVAL');
    expect(await fake.setIrqs(REQ, BOOL | TRIGGER, { data: [1] })).toBe(0);
    expect(counts()).toEqual([0, 0, 0, 0]);
  });
});
