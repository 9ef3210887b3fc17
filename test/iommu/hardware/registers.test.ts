import { describe, expect, it } from 'vitest';
import { DoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { CAP_HI_PAS_MASK, REG } from '../../../iommu/hardware/regs.ts';
import { EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { sourceOf } from '../bus/eventfd-source.ts';
import { atp, DOORBELL_PFN, IOFENCE, Machine, RAM_PFN } from './machine.ts';

const DOORBELL = BigInt(DOORBELL_PFN) * 4096n;

describe('ddtp', () => {
  it.each([
    { from: 0n, to: 2n, taken: true },
    { from: 0n, to: 4n, taken: true },
    { from: 1n, to: 3n, taken: true },
    { from: 2n, to: 0n, taken: true },
    { from: 2n, to: 1n, taken: true },
    { from: 2n, to: 3n, taken: false },
    { from: 4n, to: 2n, taken: false },
    { from: 0n, to: 5n, taken: false },
    { from: 0n, to: 15n, taken: false },
  ])('mode $from → $to: taken $taken', ({ from, to, taken }) => {
    const machine = new Machine();
    machine.unit.writeRegister(REG.ddtp, 8, from);

    machine.unit.writeRegister(REG.ddtp, 8, to | (0x123n << 10n));

    expect(machine.unit.readRegister(REG.ddtp, 8)).toBe(taken ? to | (0x123n << 10n) : from);
  });

  it('OFF stops a device at once, whatever it has cached', () => {
    const machine = new Machine();
    machine.unit.writeRegister(REG.ddtp, 8, 1n);
    const port = machine.port();
    expect(port.read(RAM_PFN, 0, 4).done).toBe(4);

    machine.unit.writeRegister(REG.ddtp, 8, 0n);

    expect(port.read(RAM_PFN, 0, 4).done).toBe(0);
    expect(machine.faults().map((f) => f.cause)).toEqual([256]);
  });
});

describe('registers', () => {
  it('say how many bits a physical address has, as a number (IOMMU spec §5.3)', () => {
    const { unit } = new Machine();
    expect(unit.read32(REG.capabilities + 4) & CAP_HI_PAS_MASK).toBe(52);
  });

  it('keep only the bits they have', () => {
    const { unit } = new Machine();
    unit.write32(REG.cqcsr, 0);
    unit.write32(REG.fqcsr, 0);
    const ones = 0xffff_ffff_ffff_ffffn;
    for (const offset of [REG.capabilities, REG.cqb, REG.fqb, REG.icvec, REG.trReqIova, REG.msiCfgTbl, REG.pqb]) {
      unit.writeRegister(offset, 8, ones);
    }
    unit.write32(REG.fctl, 0xffffffff);

    expect(unit.readRegister(REG.capabilities, 8)).toBe(0x34a0e60610n);
    expect(unit.readRegister(REG.cqb, 8)).toBe(0x3ffffffffffc1fn);
    expect(unit.readRegister(REG.fqb, 8)).toBe(0x3ffffffffffc1fn);
    expect(unit.readRegister(REG.icvec, 8)).toBe(0xffffn);
    expect(unit.readRegister(REG.trReqIova, 8)).toBe(0xfffffffffffff000n);
    expect(unit.readRegister(REG.msiCfgTbl, 8)).toBe(0xfffffffffffffcn);
    expect(unit.readRegister(REG.pqb, 8)).toBe(0n);
    expect(unit.read32(REG.fctl)).toBe(2);
  });

  it('of 64 bits can be written in halves', () => {
    const { unit } = new Machine();
    unit.write32(REG.cqcsr, 0);

    unit.write32(REG.cqb + 4, 0x12);
    unit.write32(REG.cqb, 0x8000_0005);
    unit.write32(REG.msiCfgTbl + 20, 0x34);
    unit.write32(REG.msiCfgTbl + 16, 0xff);

    expect(unit.readRegister(REG.cqb, 8)).toBe(0x12_8000_0005n);
    expect(unit.readRegister(REG.msiCfgTbl + 16, 8)).toBe(0x34_0000_00fcn);
  });

  it('throw at an unaligned access, which no bus makes', () => {
    const { unit } = new Machine();

    expect(() => unit.read32(2)).toThrow(RangeError);
  });
});

describe('an interrupt of the unit as a message', () => {
  function withMessages(): { machine: Machine; fd: number; table: DoorbellTable } {
    const machine = new Machine();
    const fd = eventfd(0, EFD_NONBLOCK);
    const table = new DoorbellTable(machine.interrupts);
    table.setSource(77, sourceOf(machine.interrupts, fd));
    machine.unit.write32(REG.fctl, 0);
    machine.unit.writeRegister(REG.icvec, 8, 0x5n << 4n);
    machine.unit.writeRegister(REG.msiCfgTbl + 5 * 16, 8, DOORBELL);
    machine.unit.write32(REG.msiCfgTbl + 5 * 16 + 8, 77);
    return { machine, fd, table };
  }

  it('is a store of the data to the address of its vector, once per pending bit', () => {
    const { machine, fd } = withMessages();

    machine.port().read(0, 0, 4);
    machine.port(1).read(0, 0, 4);
    const first = eventfdRead(fd);
    machine.unit.write32(REG.ipsr, 2);
    machine.port(2).read(0, 0, 4);

    expect([first, eventfdRead(fd)]).toEqual([1, 1]);
    expect(machine.wires).toEqual([]);
    close(fd);
  });

  it('waits while its vector is masked and comes when it is unmasked', () => {
    const { machine, fd } = withMessages();
    machine.unit.write32(REG.msiCfgTbl + 5 * 16 + 12, 1);

    machine.port().read(0, 0, 4);
    const masked = eventfdRead(fd);
    expect(machine.unit.read32(REG.msiCfgTbl + 5 * 16 + 12)).toBe(1);
    machine.unit.write32(REG.msiCfgTbl + 5 * 16 + 12, 0);

    expect([masked, eventfdRead(fd)]).toEqual([0, 1]);
    close(fd);
  });

  it('that finds no memory is a fault 273 of nobody', () => {
    const { machine, fd } = withMessages();
    machine.unit.writeRegister(REG.msiCfgTbl + 5 * 16, 8, 0x7000_0000n);

    machine.port().read(0, 0, 4);

    expect(machine.faults().map((f) => [f.cause, f.ttyp, f.did, f.iotval])).toEqual([
      [256, 2, 8, 0n],
      [273, 0, 0, 0x7000_0000n],
    ]);
    close(fd);
  });
});

describe('the debug translation', () => {
  it('answers a superpage with its size coded in the PPN, and is not cached', () => {
    const machine = new Machine();
    const root = machine.page(4);
    machine.enable();
    machine.setContext({ iohgatp: atp(8, root) });
    machine.map(root, 512, RAM_PFN, { levels: 3, x4: true, level: 1 });
    const ask = (iova: bigint): bigint => {
      machine.unit.writeRegister(REG.trReqIova, 8, iova);
      machine.unit.writeRegister(REG.trReqCtl, 8, (8n << 40n) | 9n);
      return machine.unit.readRegister(REG.trResponse, 8);
    };

    const large = ask(0x200000n + 0x5000n);
    machine.map(root, 512, 0, { levels: 3, x4: true, level: 1, flags: 0 });

    expect(large).toBe((BigInt(RAM_PFN + 0xff) << 10n) | (1n << 9n));
    expect(ask(0x200000n) & 1n).toBe(1n);
    expect(machine.faults().map((f) => [f.cause, f.ttyp, f.iotval])).toEqual([[21, 2, 0x200000n]]);
  });

  it('asks for write access unless NW is set', () => {
    const machine = new Machine();
    const root = machine.page(4);
    machine.enable();
    machine.setContext({ iohgatp: atp(8, root) });
    machine.map(root, 1, RAM_PFN, { levels: 3, x4: true, flags: 0x53 });
    machine.unit.writeRegister(REG.trReqIova, 8, 0x1000n);

    machine.unit.writeRegister(REG.trReqCtl, 8, (8n << 40n) | 1n);
    const write = machine.unit.readRegister(REG.trResponse, 8);
    machine.unit.writeRegister(REG.trReqCtl, 8, (8n << 40n) | 9n);

    expect(write & 1n).toBe(1n);
    expect(machine.unit.readRegister(REG.trResponse, 8)).toBe(BigInt(RAM_PFN) << 10n);
  });
});

describe('an MSI page table', () => {
  const WINDOW = 0xfee00;

  /**
   * The window of 256 pages at fee00000, all of them to the doorbell, as the driver programs it.
   */
  function window(mask = 0xffn): { machine: Machine; table: number } {
    const machine = new Machine();
    const table = machine.page();
    machine.enable();
    machine.setContext({
      iohgatp: atp(8, machine.page(4)),
      msiptp: (1n << 60n) | BigInt(table),
      msiMask: mask,
      msiPattern: BigInt(WINDOW),
    });
    return { machine, table };
  }

  const setMsiEntry = (machine: Machine, table: number, index: number, value: bigint): void =>
    machine.view.setBigUint64(machine.at(table) + index * 16, value, true);
  const basic = (pfn: number): bigint => (BigInt(pfn) << 10n) | 7n;

  it('sends the store of a device to the doorbell, which raises the vector', () => {
    const { machine, table } = window();
    const fd = eventfd(0, EFD_NONBLOCK);
    new DoorbellTable(machine.interrupts).setSource(3, sourceOf(machine.interrupts, fd));
    setMsiEntry(machine, table, 0x12, basic(DOORBELL_PFN));
    const port = machine.port();

    expect(port.write32(WINDOW + 0x12, 0, 3)).toBe(true);
    expect(port.write(WINDOW + 0x12, 4, Uint8Array.of(3, 0, 0, 0))).toBe(4);

    expect(eventfdRead(fd)).toBe(2);
    expect(port.read(WINDOW + 0x12, 0, 4)).toEqual({ done: 4, bytes: new Uint8Array(4) });
    close(fd);
  });

  it('packs the bits under the mask into the index', () => {
    const { machine, table } = window(0b1010_0000n);
    setMsiEntry(machine, table, 0b10, basic(RAM_PFN + 1));

    expect(machine.port().write32(WINDOW | 0b1000_0000, 8, 0x55)).toBe(true);

    expect(new Uint32Array(machine.ram)[1024 + 2]).toBe(0x55);
  });

  it.each([
    { what: 'V=0', value: basic(RAM_PFN) & ~1n, cause: 262 },
    { what: 'M=0', value: 1n, cause: 263 },
    { what: 'M=2', value: 5n, cause: 263 },
    { what: 'a reserved bit', value: basic(RAM_PFN) | 8n, cause: 263 },
    { what: 'C=1', value: basic(RAM_PFN) | (1n << 63n), cause: 263 },
  ])('entry with $what refuses with cause $cause', ({ value, cause }) => {
    const { machine, table } = window();
    setMsiEntry(machine, table, 0, value);

    machine.port().write32(WINDOW, 0, 1);

    expect(machine.faults().map((f) => f.cause)).toEqual([cause]);
  });

  it('that is not in memory refuses with cause 261', () => {
    const { machine } = window();
    machine.setContext({
      iohgatp: atp(8, machine.page(4)),
      msiptp: (1n << 60n) | 0x700000n,
      msiPattern: BigInt(WINDOW),
    });

    machine.port().write32(WINDOW, 0, 1);

    expect(machine.faults().map((f) => f.cause)).toEqual([261]);
  });

  it('is left alone by addresses outside the window, and forgotten by IOTINVAL.GVMA', () => {
    const { machine, table } = window();
    setMsiEntry(machine, table, 0, basic(RAM_PFN));
    const port = machine.port();
    expect(port.write32(WINDOW, 0, 1)).toBe(true);
    expect(port.write32(WINDOW + 256, 0, 1)).toBe(false);
    setMsiEntry(machine, table, 0, 0n);
    expect(port.write32(WINDOW, 0, 1)).toBe(true);

    machine.command([0x81n, 0n], IOFENCE);

    expect(port.write32(WINDOW, 0, 1)).toBe(false);
    expect(machine.faults().map((f) => f.cause)).toEqual([23, 262]);
  });
});
