import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DoorbellTable } from '../../../../iommu/bus/interrupts.ts';
import { IommuUnit } from '../../../../iommu/hardware/unit.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../../../iommu/kernel/driver/domain.ts';
import type { RiscvDomain } from '../../../../iommu/kernel/driver/riscv-domain.ts';
import { RiscvIommu } from '../../../../iommu/kernel/driver/riscv-iommu.ts';
import { eventfd, eventfdRead } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { FakeMachine, type FakeObject } from '../../../fakes/fake-machine.ts';
import { sourceOf } from '../../bus/eventfd-source.ts';

const RW = IOMMU_READ | IOMMU_WRITE;
const RAM_PFN = 0x100_0000;
const DID = 0x28;
const GUEST_WRITE_FAULT = 23;
const NO_CONTEXT = 258;

let machine: FakeMachine;
let ram: FakeObject;
let domain: RiscvDomain;

function start(options: ConstructorParameters<typeof FakeMachine>[0] = {}): void {
  machine = new FakeMachine(options);
  ram = machine.object(8 * 2 ** 20);
  machine.board.physical.attach({ kind: 'ram', start: RAM_PFN * 4096, size: ram.size, buffer: ram.buffer });
  domain = machine.driver.allocDomain();
}

beforeEach(() => start());
afterEach(() => machine.close());

/** One write of `bytes` by the device; whether all of it went. */
function dmaWrite(vpn: number, offset: number, bytes: readonly number[]): boolean {
  const port = machine.port(DID);
  const done = port.write(vpn, offset, Uint8Array.from(bytes));
  port.idle();
  return done === bytes.length;
}

describe('a device', () => {
  it('faults before it is in a domain, reaches what is mapped in it, and faults after it was taken out', () => {
    domain.map(0x10, RAM_PFN, 1, RW);
    expect(dmaWrite(0x10, 8, [1, 2, 3, 4])).toBe(false);
    machine.driver.attach(DID, domain);
    expect(dmaWrite(0x10, 8, [1, 2, 3, 4])).toBe(true);
    expect([...ram.bytes.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    machine.driver.detach(DID, domain);
    expect(dmaWrite(0x10, 8, [9, 9, 9, 9])).toBe(false);
    expect(ram.bytes[8]).toBe(1);
    const causes = machine.driver.drainFaults().map(({ cause, did, write }) => ({ cause, did, write }));
    expect(causes).toEqual(Array(2).fill({ cause: NO_CONTEXT, did: DID, write: true }));
  });

  it('does not reach what was unmapped, once flush has returned', () => {
    machine.driver.attach(DID, domain);
    domain.map(0x10, RAM_PFN, 2, RW);
    expect(dmaWrite(0x11, 0, [1])).toBe(true);
    domain.unmap(0x10, 2);
    domain.flush();
    expect(dmaWrite(0x11, 0, [2])).toBe(false);
    expect(ram.bytes[4096]).toBe(1);
    expect(machine.driver.drainFaults().at(-1)).toEqual({
      cause: GUEST_WRITE_FAULT,
      did: DID,
      write: true,
      iova: 0x11000n,
    });
  });

  it('sees the new page where an unmapped one was mapped again', () => {
    machine.driver.attach(DID, domain);
    for (const pfn of [RAM_PFN, RAM_PFN + 7]) {
      domain.map(0x10, pfn, 1, RW);
      expect(dmaWrite(0x10, 0, [pfn - RAM_PFN + 1])).toBe(true);
      domain.unmap(0x10, 1);
      domain.flush();
    }
    expect([ram.bytes[0], ram.bytes[7 * 4096]]).toEqual([1, 8]);
  });

  it('is told of the unmap of any piece of a large leaf', () => {
    machine.driver.attach(DID, domain);
    domain.map(0, RAM_PFN, 512, RW);
    expect([5, 300].map((vpn) => dmaWrite(vpn, 0, [1]))).toEqual([true, true]);
    expect(domain.unmap(5, 1)).toBe(512); // IOM-4
    domain.flush();
    expect([5, 300].map((vpn) => dmaWrite(vpn, 0, [2]))).toEqual([false, false]);
  });

  it('is told of the unmap of every page where 512 are no large leaf', () => {
    machine.driver.attach(DID, domain);
    // so that no table gets empty
    for (const vpn of [0x600, 0x900]) domain.map(vpn, RAM_PFN, 1, RW);
    domain.map(0x601, RAM_PFN + 1, 512, RW);
    expect([0x601, 0x700, 0x800].map((vpn) => dmaWrite(vpn, 0, [1]))).toEqual([true, true, true]);
    domain.unmap(0x601, 512);
    domain.flush();
    expect([0x601, 0x700, 0x800].map((vpn) => dmaWrite(vpn, 0, [2]))).toEqual([false, false, false]);
  });

  it('cannot write where the mapping is read-only', () => {
    machine.driver.attach(DID, domain);
    domain.map(0x10, RAM_PFN, 1, IOMMU_READ);
    expect(dmaWrite(0x10, 0, [1])).toBe(false);
    const read = new Uint8Array(4);
    expect(machine.port(DID).read(0x10, 0, read)).toBe(4);
    machine.port(DID).idle();
  });

  it('moves to another domain at once', () => {
    const other = machine.driver.allocDomain();
    domain.map(0x10, RAM_PFN, 1, RW);
    other.map(0x20, RAM_PFN, 1, RW);
    machine.driver.attach(DID, domain);
    expect(dmaWrite(0x10, 0, [1])).toBe(true);
    machine.driver.attach(DID, other);
    expect([dmaWrite(0x10, 0, [2]), dmaWrite(0x20, 0, [3])]).toEqual([false, true]);
  });

  it.each([0x00, 0x28, 0x3f, 0x40, 0x1ff, 0x7f28, 0xffff])('may have did 0x%s', (did) => {
    domain.map(0x10, RAM_PFN, 1, RW);
    machine.driver.attach(did, domain);
    const port = machine.port(did);
    expect(port.write(0x10, 0, Uint8Array.of(7))).toBe(1);
    port.idle();
  });
});

describe('MSI window', () => {
  it('stores at fee00000–feefffff ring the interrupt that is their data, with nothing mapped', () => {
    const fd = eventfd();
    const doorbell = new DoorbellTable(machine.interrupts);
    doorbell.setSource(42, sourceOf(machine.interrupts, fd));
    machine.driver.attach(DID, domain);
    const port = machine.port(DID);
    expect([port.write32(0xfee00, 0, 42), port.write32(0xfeeff, 0xc, 42)]).toEqual([true, true]);
    expect([port.write32(0xfedff, 0, 42), port.write32(0xfef00, 0, 42)]).toEqual([false, false]);
    port.idle();
    expect(eventfdRead(fd)).toBe(2);
    close(fd);
  });

  it('is the reserved region of the unit', () => {
    expect(machine.driver.reservedRegions()).toEqual([{ vpn: 0xfee00, nrPages: 0x100, type: 'msi' }]);
    expect(() => domain.mapMsiWindow(0x8000)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });

  it('is a page like any other on a unit without MSI page tables (ATT-4, RSV-9)', () => {
    start({ unit: { msiFlat: false } });
    expect(machine.driver.reservedRegions()).toEqual([{ vpn: 0x8000, nrPages: 0x100, type: 'sw-msi' }]);
    machine.driver.attach(DID, domain);
    const port = machine.port(DID);
    expect(port.write32(0x8000, 0, 7)).toBe(false);
    domain.mapMsiWindow(0x8000);
    expect(port.write32(0x8000, 0, 7)).toBe(true);
    port.idle();
    expect(new DoorbellTable(machine.interrupts).dropped(7)).toBe(1);
  });
});

describe('domain', () => {
  it.each([
    ['EFAULT', 'EFAULT'],
    ['ERANGE', 'ERANGE'],
  ] as const)('ATT-1: a mapping beyond the aperture is %s', (outsideAperture, code) => {
    start({ driver: { outsideAperture } });
    const end = 2 ** 27;
    expect(domain.apertureEndVpn).toBe(end);
    expect(() => domain.map(end - 1, RAM_PFN, 2, RW)).toThrow(expect.objectContaining({ code }));
    domain.map(end - 1, RAM_PFN, 1, RW);
    expect(domain.pfnOf(end - 1)).toBe(RAM_PFN);
    expect(domain.pfnOf(end)).toBeUndefined();
  });

  it('undoes a mapping that fails half way', () => {
    domain.map(0x13, RAM_PFN, 1, RW);
    expect(() => domain.map(0x10, RAM_PFN, 8, RW)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
    expect([0x10, 0x12, 0x13, 0x14].map((vpn) => domain.pfnOf(vpn))).toEqual([
      undefined,
      undefined,
      RAM_PFN,
      undefined,
    ]);
  });

  it('gives all its tables back, and its GSCID is used again with nothing of the old left', () => {
    const free = machine.driver.nrFreePages;
    machine.driver.attach(DID, domain);
    domain.map(0x10, RAM_PFN, 1, RW);
    domain.map(2 ** 20, RAM_PFN, 600, RW);
    expect(dmaWrite(0x10, 0, [1])).toBe(true);
    machine.driver.detach(DID, domain);
    domain.free();
    const again = machine.driver.allocDomain();
    expect(again.gscid).toBe(domain.gscid);
    machine.driver.attach(DID, again);
    expect(dmaWrite(0x10, 0, [2])).toBe(false);
    // the directory's tables stay
    expect(machine.driver.nrFreePages).toBeGreaterThanOrEqual(free - 2);
  });

  it('translates 48 bits with four levels', () => {
    start({ driver: { apertureBits: 48 } });
    machine.driver.attach(DID, domain);
    domain.map(2 ** 36 - 1, RAM_PFN, 1, RW);
    expect(dmaWrite(2 ** 36 - 1, 0, [5])).toBe(true);
    expect(ram.bytes[0]).toBe(5);
  });

  it.each([
    [12, 12, 0x1000n],
    [12, 21, 0x20_1000n],
    [12, 30, 0x4020_1000n],
    [21, 30, 0x4020_0000n],
  ] as const)('offers the page sizes from 2^%s to 2^%s', (minPgshift, maxPgshift, pgsizes) => {
    start({ driver: { minPgshift, maxPgshift } });
    expect(domain.pgsizes).toBe(pgsizes);
  });

  it.each([
    ['iova', 0x201, RAM_PFN, 512],
    ['pa', 0x200, RAM_PFN + 1, 512],
    ['size', 0x200, RAM_PFN, 511],
  ])('refuses an %s that is no multiple of its smallest page', (_, vpn, pfn, nrPages) => {
    start({ driver: { minPgshift: 21 } });
    expect(() => domain.map(vpn, pfn, nrPages, RW)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(domain.pfnOf(0x200)).toBeUndefined();
  });
});

describe('driver', () => {
  it('refuses a unit that cannot translate as many bits', () => {
    expect(() => start({ unit: { sv48: false }, driver: { apertureBits: 48 } })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('takes over a unit that another driver has left running: nothing of it is in force', () => {
    machine.driver.attach(DID, domain);
    domain.map(0x10, RAM_PFN, 1, RW);
    expect(dmaWrite(0x10, 0, [1])).toBe(true);
    const { physical } = machine.board;
    const size = 2 ** 20;
    physical.attach({ kind: 'ram', start: 3 * 2 ** 30, size, buffer: new SharedArrayBuffer(size) });
    const next = new RiscvIommu({
      unit: new IommuUnit(machine.unit, physical, () => {}),
      physical,
      kernelRam: { start: 3 * 2 ** 30, size },
      doorbell: { start: 2 * 2 ** 30, size: 4096 },
    });
    expect(dmaWrite(0x10, 0, [2])).toBe(false);
    const fresh = next.allocDomain();
    next.attach(DID, fresh);
    fresh.map(0x10, RAM_PFN + 1, 1, RW);
    expect(dmaWrite(0x10, 0, [3])).toBe(true);
    expect([ram.bytes[0], ram.bytes[4096]]).toEqual([1, 3]);
  });

  it('counts all faults, keeps the newest, and records again after an overflow', () => {
    machine.driver.attach(DID, domain);
    for (let i = 0; i < 200; i++) dmaWrite(0x1000 + i, 0, [1]);
    const kept = machine.driver.drainFaults();
    expect(machine.driver.faults.count).toBe(127);
    expect(machine.driver.faults.overflows).toBe(1);
    expect(kept).toHaveLength(16);
    expect(kept.at(-1)?.iova).toBe(0x107e000n);
    dmaWrite(0x5000, 0, [1]);
    machine.driver.drainFaults();
    expect(machine.driver.faults.count).toBe(128);
  });

  it('counts what it writes to page tables, a touched entry too, and nothing else', () => {
    machine.driver.attach(DID, domain);
    expect(machine.driver.pteWrites).toBe(0);
    expect(machine.driver.touchPte()).toBe(false);
    domain.map(0, RAM_PFN, 512, RW);
    expect(machine.driver.pteWrites).toBe(2); // a table and a 2 MiB leaf
    expect(machine.driver.touchPte()).toBe(true);
    expect(machine.driver.pteWrites).toBe(3);
  });
});
