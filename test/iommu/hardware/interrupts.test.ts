import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  createDoorbellTable,
  createIntxLine,
  DoorbellTable,
  IntxLine,
  NR_VECTORS,
} from '../../../iommu/hardware/interrupts.ts';
import { close, EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead, write } from '../../../platform/libc.ts';

let fd: number;
beforeEach(() => {
  fd = eventfd(0, EFD_NONBLOCK);
});
afterEach(() => close(fd));

describe('DoorbellTable', () => {
  it('signals the eventfd of a vector and counts; without one it counts the loss', () => {
    const table = new DoorbellTable(createDoorbellTable());
    table.ring(9);
    table.setEventfd(9, fd);
    table.ring(9);
    table.ring(9);
    table.setEventfd(9, -1);
    table.ring(9);

    expect(eventfdRead(fd)).toBe(2);
    expect([table.raised(9), table.dropped(9)]).toEqual([2, 2]);
  });

  it('counts data that is no vector', () => {
    const table = new DoorbellTable(createDoorbellTable());

    table.ring(NR_VECTORS);
    table.ring(0xffffffff);

    expect(table.stray()).toBe(2);
    expect(() => table.setEventfd(NR_VECTORS, fd)).toThrow(RangeError);
  });

  it('does not block on a blocking eventfd whose count is at its maximum', () => {
    const full = eventfd(0, EFD_CLOEXEC);
    write(full, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer));
    const table = new DoorbellTable(createDoorbellTable());
    table.setEventfd(1, full);

    table.ring(1);

    expect(table.raised(1)).toBe(1);
    close(full);
  });
});

describe('IntxLine (PCI-5)', () => {
  it('masks itself and signals once for a level, however long it lasts', () => {
    const line = new IntxLine(createIntxLine());
    line.setEventfd(fd);

    line.assert();
    line.assert();

    expect(eventfdRead(fd)).toBe(1);
    expect(line.masked()).toBe(true);
  });

  it('fires again at unmask while the level is up, and not when it is down', () => {
    const line = new IntxLine(createIntxLine());
    line.setEventfd(fd);
    line.assert();
    line.unmask();
    expect(eventfdRead(fd)).toBe(2);

    line.deassert();
    line.unmask();

    expect(eventfdRead(fd)).toBe(0);
    expect([line.masked(), line.raised()]).toEqual([false, 2]);
  });

  it('holds back while it is masked', () => {
    const line = new IntxLine(createIntxLine());
    line.setEventfd(fd);
    line.mask();

    line.assert();
    const masked = eventfdRead(fd);
    line.unmask();

    expect([masked, eventfdRead(fd)]).toEqual([0, 1]);
  });

  it('tells an eventfd that comes late of a level that is already up', () => {
    const line = new IntxLine(createIntxLine());
    line.assert();
    expect(line.masked()).toBe(false);

    line.setEventfd(fd);

    expect(eventfdRead(fd)).toBe(1);
  });

  it('fires for each rising edge when it is unmasked between', () => {
    const line = new IntxLine(createIntxLine());
    line.setEventfd(fd);

    for (let i = 0; i < 3; i++) {
      line.assert();
      line.deassert();
      line.unmask();
    }

    expect(eventfdRead(fd)).toBe(3);
  });
});
