/** MSI page table entries in MRIF mode, against AIA 1.0 §8.3, §8.5.2 and IOMMU spec §2.3.3. */
import { describe, expect, it } from 'vitest';
import { DoorbellTable, HELD } from '../../../iommu/bus/interrupts.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import type { UnitOptions } from '../../../iommu/hardware/unit-memory.ts';
import { atp, DID, DOORBELL_PFN, IOFENCE, Machine, RAM_PFN, type TestPort } from './machine.ts';

const WINDOW = 0xfee00;
const NOTICE = 77;
const FILE_PAGE = 5;
const FILE = (RAM_PFN + FILE_PAGE) * 4096 + 3 * 512;

interface Entry {
  readonly file?: number;
  readonly noticePfn?: number;
  readonly notice?: number;
  readonly also?: readonly [bigint, bigint];
}

const mrif = ({
  file = FILE,
  noticePfn = DOORBELL_PFN,
  notice = NOTICE,
  also = [0n, 0n],
}: Entry = {}): [bigint, bigint] => [
  ((BigInt(file) >> 9n) << 7n) | 3n | also[0],
  (BigInt(noticePfn) << 10n) | BigInt(notice & 0x3ff) | (BigInt(notice >> 10) << 60n) | also[1],
];
const basic = (pfn: number): [bigint, bigint] => [(BigInt(pfn) << 10n) | 7n, 0n];

interface Setup {
  readonly machine: Machine;
  readonly port: TestPort;
  readonly doorbell: DoorbellTable;
  set(entry: readonly [bigint, bigint]): void;
  /** Words of the file that are not 0. */
  file(): Record<number, number>;
  notices(notice?: number): number;
}

/** The page WINDOW is that of an interrupt file; messages to the doorbell are counted there. */
function setup(entry: readonly [bigint, bigint] = mrif(), options: Partial<UnitOptions> = {}, tc = 1n): Setup {
  const machine = new Machine(options);
  const table = machine.page();
  machine.enable();
  machine.setContext({
    tc,
    iohgatp: atp(8, machine.page(4)),
    msiptp: (1n << 60n) | BigInt(table),
    msiMask: 0n,
    msiPattern: BigInt(WINDOW),
  });
  const doorbell = new DoorbellTable(machine.interrupts);
  const set = ([first, second]: readonly [bigint, bigint]): void => {
    machine.view.setBigUint64(machine.at(table) + 8, second, true);
    machine.view.setBigUint64(machine.at(table), first, true);
  };
  set(entry);
  for (const vector of [NOTICE, 0, 1033]) doorbell.setSource(vector, HELD);
  const words = new Uint32Array(machine.ram, FILE_PAGE * 4096 + 3 * 512, 128);
  return {
    ...{ machine, port: machine.port(), doorbell, set },
    file: () => Object.fromEntries([...words.entries()].filter(([, word]) => word !== 0)),
    notices: (notice = NOTICE) => doorbell.pending(notice),
  };
}

const causes = ({ machine }: Setup): number[] => machine.faults().map(({ cause }) => cause);

describe('a message to an interrupt file in memory', () => {
  it.each([
    { data: 0, word: 0, bit: 0 },
    { data: 1, word: 0, bit: 1 },
    { data: 33, word: 1, bit: 1 },
    { data: 64, word: 4, bit: 0 },
    { data: 127, word: 5, bit: 31 },
    { data: 2047, word: 125, bit: 31 },
  ])('of identity $data sets its pending bit, and the unit tells', ({ data, word, bit }) => {
    const one = setup();

    expect(one.port.write32(WINDOW, 0, data)).toBe(true);

    expect(one.file()).toEqual({ [word]: 2 ** bit });
    expect(one.notices()).toBe(1);
    expect(causes(one)).toEqual([]);
  });

  it('keeps the other bits, and is told of each time: pending before, enabled or not', () => {
    const one = setup();
    const words = new Uint32Array(one.machine.ram, FILE_PAGE * 4096 + 3 * 512, 128);
    words[0] = 0x80000001;
    words[2] = 0x10; // enables identity 4

    for (const data of [4, 4, 5]) one.port.write32(WINDOW, 0, data);

    expect(one.file()).toEqual({ 0: 0x80000031, 2: 0x10 });
    expect(one.notices()).toBe(3);
  });

  it('may be big-endian at offset 4, and a store of 4 bytes', () => {
    const one = setup();

    expect(one.port.write(WINDOW, 4, Uint8Array.of(0, 0, 0, 6))).toBe(4);
    expect(one.port.write(WINDOW, 0, Uint8Array.of(7, 0, 0, 0))).toBe(4);

    expect(one.file()).toEqual({ 0: 0xc0 });
    expect(one.notices()).toBe(2);
  });

  it.each([
    { what: 'an identity above 2047', offset: 0, value: 2048 },
    { what: 'data that is an identity in the other byte order', offset: 4, value: 6 },
    { what: 'another offset', offset: 8, value: 6 },
    { what: 'the last word of the page', offset: 4092, value: 6 },
  ])('with $what is accepted and discarded', ({ offset, value }) => {
    const one = setup();

    expect(one.port.write32(WINDOW, offset, value)).toBe(true);

    expect(one.file()).toEqual({});
    expect(one.notices()).toBe(0);
    expect(causes(one)).toEqual([]);
    expect(one.port.counts().unsupported).toBe(0);
  });

  it.each([
    { bytes: 1, offset: 0 },
    { bytes: 2, offset: 0 },
    { bytes: 4, offset: 2 },
    { bytes: 8, offset: 0 },
    { bytes: 4, offset: 4094 },
    { bytes: 8192, offset: 0 },
  ])('of $bytes bytes at offset $offset is an Unsupported Request, as a read is', ({ bytes, offset }) => {
    const one = setup();

    expect(one.port.write(WINDOW, offset, new Uint8Array(bytes).fill(1))).toBe(0);
    expect(one.port.read(WINDOW, offset, bytes).done).toBe(0);

    expect(one.file()).toEqual({});
    expect(one.port.counts().unsupported).toBe(2);
    expect(causes(one)).toEqual([]);
  });

  it('leaves nothing to read: an aligned read of 32 bits gives 0', () => {
    const one = setup();
    one.port.write32(WINDOW, 0, 3);

    expect(one.port.read(WINDOW, 0, 4)).toEqual({ done: 4, bytes: new Uint8Array(4) });
  });

  it('is told of to any page, with NID as data', () => {
    const one = setup(mrif({ notice: 1033 }));
    const memory = setup(mrif({ noticePfn: RAM_PFN + 9, notice: 1033 }));

    one.port.write32(WINDOW, 0, 3);
    memory.port.write32(WINDOW, 0, 3);

    expect(one.notices(1033)).toBe(1);
    expect(new Uint32Array(memory.machine.ram)[9 * 1024]).toBe(1033);
  });

  it('takes a new way as soon as the entry is another, because no way to a file is cached', () => {
    const one = setup();
    one.port.write32(WINDOW, 0, 3);
    one.set(basic(DOORBELL_PFN));

    one.port.write32(WINDOW, 0, 0); // cached now
    one.set(mrif());
    one.port.write32(WINDOW, 0, 0);
    const before = one.doorbell.pending(0);
    one.machine.command([0x81n, 0n], IOFENCE);
    one.port.write32(WINDOW, 0, 5);

    expect(before).toBe(2);
    expect(one.file()).toEqual({ 0: 0x28 });
  });
});

describe('an entry in MRIF mode refuses', () => {
  const reserved = (bit: number): readonly [bigint, bigint] => [1n << BigInt(bit), 0n];
  const second = (bit: number): readonly [bigint, bigint] => [0n, 1n << BigInt(bit)];

  it.each([
    { what: 'bit 3', also: reserved(3) },
    { what: 'bit 6', also: reserved(6) },
    { what: 'bit 54', also: reserved(54) },
    { what: 'bit 62', also: reserved(62) },
    { what: 'C', also: reserved(63) },
    { what: 'bit 54 of the second half', also: second(54) },
    { what: 'bit 59 of the second half', also: second(59) },
    { what: 'bit 61 of the second half', also: second(61) },
    { what: 'bit 63 of the second half', also: second(63) },
  ])('with cause 263 if $what is set', ({ also }) => {
    const one = setup(mrif({ also }));

    expect(one.port.write32(WINDOW, 0, 1)).toBe(false);

    expect(causes(one)).toEqual([263]);
    expect(one.notices()).toBe(0);
  });

  it('with cause 263 on a unit without such files, which says so', () => {
    const one = setup(mrif(), { interruptFiles: false });

    expect(one.port.write32(WINDOW, 0, 1)).toBe(false);

    expect(causes(one)).toEqual([263]);
    expect(one.machine.unit.read32(REG.capabilities) & (5 << 21)).toBe(0);
    expect(setup().machine.unit.read32(REG.capabilities) & (7 << 21)).toBe(7 << 21);
  });

  it('with cause 264 if the file is not in memory', () => {
    const one = setup(mrif({ file: 0x7000_0000 }));

    expect(one.port.write32(WINDOW, 0, 1)).toBe(false);

    expect(one.machine.faults()).toEqual([
      { cause: 264, ttyp: 3, did: DID, iotval: BigInt(WINDOW) << 12n, iotval2: 0n },
    ]);
    expect(one.notices()).toBe(0);
  });

  it('with DTF, without a record of cause 264', () => {
    const one = setup(mrif({ file: 0x7000_0000 }), {}, 0x11n);

    expect(one.port.write32(WINDOW, 0, 1)).toBe(false);

    expect(causes(one)).toEqual([]);
    expect(one.port.counts().faults).toBe(1);
  });

  it("nothing where only the unit's message is lost: that is a fault 273 of nobody", () => {
    const one = setup(mrif({ noticePfn: 0x7_0000 }));

    expect(one.port.write32(WINDOW, 0, 1)).toBe(true);

    expect(one.file()).toEqual({ 0: 2 });
    expect(one.machine.faults()).toEqual([{ cause: 273, ttyp: 0, did: 0, iotval: 0x7000_0000n, iotval2: 0n }]);
  });

  it('debug translations with cause 260', () => {
    const one = setup();
    const { unit } = one.machine;
    unit.writeRegister(REG.trReqIova, 8, BigInt(WINDOW) << 12n);

    unit.writeRegister(REG.trReqCtl, 8, (BigInt(DID) << 40n) | 1n);

    expect(unit.readRegister(REG.trResponse, 8) & 1n).toBe(1n);
    expect(causes(one)).toEqual([260]);
    expect(one.file()).toEqual({});
  });
});
