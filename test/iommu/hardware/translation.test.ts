import { describe, expect, it } from 'vitest';

import { DoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { entryHi, PTE_A, PTE_D, PTE_G, PTE_R, PTE_U, PTE_V, PTE_W, PTE_X } from '../../../iommu/hardware/pte.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import {
  atp,
  DID,
  DOORBELL_PFN,
  IODIR_ALL,
  LEAF,
  Machine,
  RAM_PAGES,
  RAM_PFN,
  type TestPort,
  VMA_ALL,
} from './machine.ts';

const SV39X4 = { levels: 3, x4: true };
const SV39 = { levels: 3 };

/** A machine whose device translates by a second stage only. */
function secondStage(): { machine: Machine; port: TestPort; root: number } {
  const machine = new Machine();
  const root = machine.page(4);
  machine.enable();
  machine.setContext({ iohgatp: atp(8, root, 3) });
  return { machine, port: machine.port(), root };
}

/** The same with a first stage only. */
function firstStage(): { machine: Machine; port: TestPort; root: number } {
  const machine = new Machine();
  const root = machine.page();
  machine.enable();
  machine.setContext({ fsc: atp(8, root), ta: 5n << 12n });
  return { machine, port: machine.port(), root };
}

const count = (bytes: Uint8Array, value: number): number => bytes.filter((byte) => byte === value).length;
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

describe('a transfer', () => {
  it('moves the bytes of the pages before a refused one and says how many', () => {
    const { machine, port, root } = secondStage();
    machine.map(root, 10, RAM_PFN + 1, SV39X4);
    machine.map(root, 11, RAM_PFN + 5, SV39X4);

    const done = port.write(10, 100, filled(3 * 4096, 7));

    expect(done).toBe(2 * 4096 - 100);
    expect(new Uint8Array(machine.ram, 4096 + 100, 3996).every((b) => b === 7)).toBe(true);
    expect(new Uint8Array(machine.ram, 5 * 4096, 4096).every((b) => b === 7)).toBe(true);
    expect(machine.faults()).toEqual([{ cause: 23, ttyp: 3, did: DID, iotval: 12n << 12n, iotval2: 12n << 12n }]);
  });

  it.each(['cold', 'warm'])(
    'over two pages of two memory objects stays in each, though their pa are adjacent: %s',
    (state) => {
      const { machine, port, root } = secondStage();
      const start = (RAM_PFN + RAM_PAGES) * 4096; // right behind the first object
      const next = new SharedArrayBuffer(2 * 4096);
      machine.physical.attach({ kind: 'ram', start, size: 2 * 4096, buffer: next });
      const last = machine.bytesOf(RAM_PAGES - 1);
      machine.map(root, 10, RAM_PFN + RAM_PAGES - 1, SV39X4);
      machine.map(root, 11, RAM_PFN + RAM_PAGES, SV39X4);
      machine.map(root, 12, RAM_PFN + RAM_PAGES - 2, SV39X4);
      machine.map(root, 20, RAM_PFN + RAM_PAGES, SV39X4);
      machine.map(root, 21, RAM_PFN + 1, SV39X4);
      if (state === 'warm') for (const page of [10, 11, 12, 20, 21]) port.write(page, 0, filled(1, 0));

      const done = port.write(10, 4000, filled(96 + 4096 + 50, 7));
      const back = port.read(10, 4000, 96 + 4096 + 50);

      expect([done, back.done]).toEqual([4242, 4242]);
      expect(back.bytes.every((byte) => byte === 7)).toBe(true);
      expect(count(last.subarray(4000), 7)).toBe(96);
      expect(count(new Uint8Array(next, 0, 4096), 7)).toBe(4096);
      expect(count(new Uint8Array(next, 4096), 7)).toBe(0);
      expect(count(machine.bytesOf(RAM_PAGES - 2), 7)).toBe(50);

      // Page 0 of the second object, then page 1 of the first.
      expect(port.write(20, 4000, filled(200, 9))).toBe(200);
      expect(port.read(20, 4000, 200).bytes).toEqual(filled(200, 9));
      expect([count(new Uint8Array(next), 9), count(machine.bytesOf(1), 9)]).toEqual([96, 104]);
    },
  );

  it.each(['cold', 'warm'])('over two pages that are not adjacent touches nothing behind the first: %s', (state) => {
    const { machine, port, root } = secondStage();
    machine.map(root, 10, RAM_PFN + 3, SV39X4);
    machine.map(root, 11, RAM_PFN + 8, SV39X4);
    if (state === 'warm') for (const page of [10, 11]) port.write(page, 0, filled(1, 0));

    expect(port.write(10, 4090, filled(12, 7))).toBe(12);
    expect(port.read(10, 4090, 12).bytes).toEqual(filled(12, 7));

    expect([3, 4, 8, 9].map((page) => count(machine.bytesOf(page), 7))).toEqual([6, 0, 6, 0]);
  });

  it.each([1, 7, 8, 12, 64, 100, 128, 129, 4096, 5000, 70_000])(
    'reads back what it wrote, %i bytes at any alignment',
    (length) => {
      const { machine, port, root } = secondStage();
      for (let page = 0; page < 20; page++) machine.map(root, page, RAM_PFN + ((page * 7) % 20), SV39X4);
      const bytes = Uint8Array.from({ length }, (_, i) => i * 31 + length);

      for (const offset of [0, 1, 4, 8, 4090]) {
        expect(port.write(0, offset, bytes)).toBe(length);
        expect(port.write(0, offset, bytes)).toBe(length);
        expect(Buffer.compare(port.read(0, offset, length).bytes, bytes)).toBe(0);
      }
    },
  );

  it('carries every bit pattern, signalling NaNs too, warm or cold', () => {
    const { machine, port, root } = secondStage();
    machine.map(root, 0, RAM_PFN, SV39X4);
    const bytes = new Uint8Array(
      new BigUint64Array([0x7ff0000000000001n, 0xfff4000000000123n, 0x7ff8_dead_beef_0001n]).buffer,
    );
    const back = new Uint8Array(bytes.length);

    for (let i = 0; i < 20_000; i++) {
      port.dma.write(0, (i % 64) * 24, bytes);
      port.dma.read(0, (i % 64) * 24, back);
    }

    expect(back).toEqual(bytes);
  });

  it('wraps at 2^64 as an address does', () => {
    const { machine, port, root } = firstStage();
    machine.map(root, 2 ** 52 - 1, RAM_PFN + 1, SV39);
    machine.map(root, 0, RAM_PFN + 9, SV39);

    expect(port.write(2 ** 52 - 1, 4090, filled(12, 3))).toBe(12);

    expect(new Uint8Array(machine.ram, 9 * 4096, 7)).toEqual(Uint8Array.of(3, 3, 3, 3, 3, 3, 0));
  });

  it('is refused without a fault record where the translation is right but nothing answers at the pa', () => {
    const { machine, port, root } = secondStage();
    machine.map(root, 0, RAM_PFN + RAM_PAGES, SV39X4);

    expect(port.read(0, 0, 8).done).toBe(0);

    expect(machine.faults()).toEqual([]);
    expect(port.counts()).toMatchObject({ faults: 0, unsupported: 1 });
  });
});

describe('a leaf', () => {
  const all = PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D;
  it.each([
    { what: 'V=0', flags: all & ~PTE_V, read: 13, write: 15 },
    { what: 'W without R', flags: all & ~PTE_R, read: 13, write: 15 },
    { what: 'U=0', flags: all & ~PTE_U, read: 13, write: 15 },
    { what: 'A=0', flags: all & ~PTE_A, read: 13, write: 15 },
    { what: 'execute only', flags: PTE_V | PTE_X | PTE_U | PTE_A, read: 13, write: 15 },
    { what: 'D=0', flags: all & ~PTE_D, read: 0, write: 15 },
    { what: 'read only', flags: all & ~PTE_W, read: 0, write: 15 },
    { what: 'all of them', flags: all | PTE_X | PTE_G, read: 0, write: 0 },
  ])('with $what: read cause $read, write cause $write', ({ flags, read, write }) => {
    const { machine, port, root } = firstStage();
    machine.map(root, 0x10, RAM_PFN, { ...SV39, flags });

    port.read(0x10, 0, 4);
    const afterRead = machine.faults().map((f) => f.cause);
    port.write(0x10, 0, filled(4, 1));
    const afterWrite = machine.faults().map((f) => f.cause);

    expect(afterRead).toEqual(read ? [read] : []);
    expect(afterWrite).toEqual(write ? [write] : []);
  });

  it('with D=0 refuses a write even when a read has cached it (QEMU lets it through)', () => {
    const { machine, port, root } = firstStage();
    machine.map(root, 1, RAM_PFN, { ...SV39, flags: LEAF & ~PTE_D });
    port.read(1, 0, 8);

    expect(port.write(1, 0, filled(8, 9))).toBe(0);

    expect(machine.faults().map((f) => f.cause)).toEqual([15]);
    expect(new Uint8Array(machine.ram, 0, 8)).toEqual(filled(8, 0));
  });

  it('with N=1 is a 64 KiB page of Svnapot, and reserved with another low pattern', () => {
    const { machine, port, root } = firstStage();
    machine.map(root, 0x20, RAM_PFN, SV39);
    const table = machine.at(machine.page() - 1) / 4;
    const set = (index: number, pfn: number): void => {
      machine.words[table + index * 2 + 1] = entryHi(pfn) | 0x80000000;
      machine.words[table + index * 2] = ((pfn & 0x3fffff) << 10) | LEAF;
    };
    for (let i = 0; i < 16; i++) set(0x20 + i, RAM_PFN + 16 + 8);
    set(0x30, RAM_PFN + 16 + 4);

    expect(port.write(0x20 + 5, 0, filled(4, 5))).toBe(4);
    expect(port.write(0x30, 0, filled(4, 5))).toBe(0);

    expect(new Uint8Array(machine.ram, (16 + 5) * 4096, 1)[0]).toBe(5);
  });
});

it('a leaf of 2 MiB reaches no further than what answers behind it', () => {
  const { machine, port, root } = secondStage();
  const doorbells = new DoorbellTable(machine.interrupts);
  machine.map(root, 0, DOORBELL_PFN, { ...SV39X4, level: 1 });

  expect(port.write32(0, 0, 5)).toBe(true);
  expect(port.write32(1, 0, 5)).toBe(false);

  expect([doorbells.dropped(5), port.counts().unsupported]).toEqual([1, 1]);
});

describe('a table entry that is no leaf', () => {
  it.each([
    { what: 'nothing else', flags: 0, cause: 0 },
    { what: 'A', flags: PTE_A, cause: 13 },
    { what: 'D', flags: PTE_D, cause: 13 },
    { what: 'U', flags: PTE_U, cause: 13 },
  ])('with V and $what gives cause $cause: the rest is reserved', ({ flags, cause }) => {
    const { machine, port, root } = firstStage();
    const [middle, last] = [machine.page(), machine.page()];
    machine.setEntry(root, 0, middle, PTE_V);
    machine.setEntry(middle, 0, last, PTE_V | flags);
    machine.setEntry(last, 0, RAM_PFN, LEAF);

    port.read(0, 0, 4);

    expect(machine.faults().map((fault) => fault.cause)).toEqual(cause ? [cause] : []);
  });

  it('is none at the last level', () => {
    const { machine, port, root } = firstStage();
    machine.map(root, 0, machine.page(), { ...SV39, flags: PTE_V });

    port.read(0, 0, 4);

    expect(machine.faults().map((fault) => fault.cause)).toEqual([13]);
  });
});

describe('two stages', () => {
  function nested(): { machine: Machine; port: TestPort; first: number; second: number } {
    const machine = new Machine();
    const second = machine.page(4);
    const first = machine.page();
    machine.enable();
    machine.setContext({ iohgatp: atp(8, second, 3), fsc: atp(8, first) });
    return { machine, port: machine.port(), first, second };
  }

  it('report a table of the first stage that the second does not map: implicit, with the type of the access', () => {
    const { machine, port, first } = nested();

    port.write(0x30001, 0x10, filled(4, 1));

    const index = 0;
    expect(machine.faults()).toEqual([
      { cause: 23, ttyp: 3, did: DID, iotval: 0x30001010n, iotval2: (BigInt(first) << 12n) | BigInt(index * 8) | 1n },
    ]);
  });

  it('take the smaller of two pages and the rights of both', () => {
    const { machine, port, first, second } = nested();
    machine.map(second, Math.floor(first / 2 ** 18) * 2 ** 18, Math.floor(first / 2 ** 18) * 2 ** 18, {
      ...SV39X4,
      level: 2,
    });
    machine.map(first, 0x200, 0x40000, { ...SV39, level: 1 });
    machine.map(second, 0x40000, RAM_PFN + 3, { ...SV39X4, flags: LEAF & ~PTE_W });
    machine.map(second, 0x40001, RAM_PFN + 8, SV39X4);

    expect(port.read(0x200, 0, 4).done).toBe(4);
    expect(port.write(0x200, 0, filled(4, 1))).toBe(0);
    expect(port.write(0x201, 0, filled(4, 6))).toBe(4);

    expect(machine.faults()).toEqual([{ cause: 23, ttyp: 3, did: DID, iotval: 0x200000n, iotval2: 0x40000000n }]);
    expect(new Uint8Array(machine.ram, 8 * 4096, 1)[0]).toBe(6);
  });

  it.each([
    { what: 'the first', ofFirst: LEAF & ~PTE_W, ofSecond: LEAF, cause: 15 },
    { what: 'the second', ofFirst: LEAF, ofSecond: LEAF & ~PTE_W, cause: 23 },
  ])(
    'refuse a write that only $what does not allow, though a read has cached the page',
    ({ ofFirst, ofSecond, cause }) => {
      const { machine, port, first, second } = nested();
      const gib = Math.floor(first / 2 ** 18) * 2 ** 18;
      machine.map(second, gib, gib, { ...SV39X4, level: 2 });
      machine.map(first, 0x200, 0x40000, { ...SV39, flags: ofFirst });
      machine.map(second, 0x40000, RAM_PFN, { ...SV39X4, flags: ofSecond });
      expect(port.read(0x200, 0, 4).done).toBe(4);

      expect(port.write(0x200, 0, filled(4, 1))).toBe(0);

      expect(machine.faults().map((fault) => fault.cause)).toEqual([cause]);
      expect(new Uint8Array(machine.ram, 0, 4)).toEqual(filled(4, 0));
    },
  );
});

describe('a device directory', () => {
  it.each([
    { levels: 1 as const, msiFlat: true, did: 0x3f, beyond: 0x40 },
    { levels: 2 as const, msiFlat: true, did: 0x7fff, beyond: 0x8000 },
    { levels: 3 as const, msiFlat: true, did: 0xffffff, beyond: undefined },
    { levels: 1 as const, msiFlat: false, did: 0x7f, beyond: 0x80 },
    { levels: 2 as const, msiFlat: false, did: 0xffff, beyond: 0x10000 },
    { levels: 3 as const, msiFlat: false, did: 0xffffff, beyond: undefined },
  ])(
    'of $levels levels (MSI_FLAT $msiFlat) finds did $did and refuses a wider one',
    ({ levels, msiFlat, did, beyond }) => {
      const machine = new Machine({ msiFlat });
      machine.enable(levels);
      machine.setContext({}, did, levels);

      expect(machine.port(0, did).read(RAM_PFN, 0, 4).done).toBe(4);
      if (beyond !== undefined) machine.port(1, beyond).read(RAM_PFN, 0, 4);

      expect(machine.faults().map((f) => f.cause)).toEqual(beyond === undefined ? [] : [260]);
    },
  );

  it.each([
    { what: 'EN_ATS', fields: { tc: 3n } },
    { what: 'PDTV', fields: { tc: 0x21n } },
    { what: 'GADE', fields: { tc: 0x81n } },
    { what: 'SBE', fields: { tc: 0x401n } },
    { what: 'SXL', fields: { tc: 0x801n } },
    { what: 'a reserved bit of tc', fields: { tc: 1n | (1n << 40n) } },
    { what: 'a reserved bit of ta', fields: { ta: 1n } },
    { what: 'Sv57', fields: { fsc: 10n << 60n } },
    { what: 'Sv57x4', fields: { iohgatp: 10n << 60n } },
    { what: 'a root off 16 KiB', fields: { iohgatp: atp(8, 0x10001) } },
    { what: 'an MSI table without second stage', fields: { msiptp: 1n << 60n } },
    { what: 'a wide MSI mask', fields: { iohgatp: atp(8, 0x10000), msiMask: 1n << 38n } },
    { what: 'an unknown MSI mode', fields: { iohgatp: atp(8, 0x10000), msiptp: 2n << 60n } },
  ])('finds a context with $what misconfigured', ({ fields }) => {
    const machine = new Machine();
    machine.enable();
    machine.setContext(fields);

    machine.port().read(0, 0, 4);

    expect(machine.faults().map((f) => f.cause)).toEqual([259]);
  });

  it.each([
    { what: 'not in memory', ppn: 0x123456n, cause: 257 },
    { what: 'all zero', ppn: undefined, cause: 258 },
  ])('whose page is $what gives cause $cause', ({ ppn, cause }) => {
    const machine = new Machine();
    machine.enable();
    if (ppn !== undefined) {
      machine.unit.writeRegister(REG.ddtp, 8, 0n);
      machine.unit.writeRegister(REG.ddtp, 8, (ppn << 10n) | 2n);
    }

    machine.port().read(0, 0, 4);

    expect(machine.faults().map((f) => f.cause)).toEqual([cause]);
  });

  it('is read again only after an IODIR', () => {
    const { machine, port, root } = secondStage();
    machine.map(root, 0, RAM_PFN, SV39X4);
    port.read(0, 0, 4);
    machine.setContext({ tc: 0n });

    expect(port.read(0, 0, 4).done).toBe(4);
    machine.command([3n | (1n << 33n) | (9n << 40n), 0n]);
    expect(port.read(0, 0, 4).done).toBe(4);
    machine.command(VMA_ALL);
    expect(port.read(0, 0, 4).done).toBe(4);
    machine.command(IODIR_ALL);
    expect(port.read(0, 0, 4).done).toBe(0);
  });

  it('with DTF keeps page faults out of the queue, and counts them', () => {
    const machine = new Machine();
    machine.enable();
    machine.setContext({ tc: 0x11n, iohgatp: atp(8, machine.page(4)) });
    const port = machine.port();

    port.read(0, 0, 4);

    expect(machine.faults()).toEqual([]);
    expect(port.counts().faults).toBe(1);
  });
});

describe('addresses a scheme does not have', () => {
  it.each([
    { scheme: 'Sv39', fsc: 8 as const, vpn: 2 ** 26, cause: 13 },
    { scheme: 'Sv39', fsc: 8 as const, vpn: 2 ** 52 - 2 ** 26 - 1, cause: 13 },
    { scheme: 'Sv48', fsc: 9 as const, vpn: 2 ** 35, cause: 13 },
  ])('$scheme refuses vpn $vpn', ({ fsc, vpn, cause }) => {
    const machine = new Machine();
    machine.enable();
    machine.setContext({ fsc: atp(fsc, machine.page()) });

    machine.port().read(vpn, 0, 4);

    expect(machine.faults()).toEqual([{ cause, ttyp: 2, did: DID, iotval: BigInt(vpn) << 12n, iotval2: 0n }]);
  });

  it.each([
    { scheme: 'Sv39x4', mode: 8 as const, vpn: 2 ** 29 },
    { scheme: 'Sv48x4', mode: 9 as const, vpn: 2 ** 38 },
  ])('$scheme refuses guest page $vpn', ({ mode, vpn }) => {
    const machine = new Machine();
    machine.enable();
    machine.setContext({ iohgatp: atp(mode, machine.page(4)) });

    machine.port().read(vpn, 0, 4);

    expect(machine.faults()).toEqual([
      { cause: 21, ttyp: 2, did: DID, iotval: BigInt(vpn) << 12n, iotval2: BigInt(vpn) << 12n },
    ]);
  });
});
