import { afterEach, describe, expect, it } from 'vitest';
import { createPortCounters } from '../../../../../iommu/bus/counters.ts';
import { DmaPort } from '../../../../../iommu/hardware/port.ts';
import { IommuUnit } from '../../../../../iommu/hardware/unit.ts';
import { createUnit, type UnitOptions } from '../../../../../iommu/hardware/unit-memory.ts';
import { RiscvIommu, type RiscvIommuOptions } from '../../../../../iommu/kernel/driver/riscv-iommu.ts';
import { errnoOf, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

let container: TestContainer;
afterEach(() => container.close());

/**
 * A second IOMMU unit on the machine with group 2 behind it; of another driver's kind, unless given
 * the machine's `ops`.
 */
function secondUnit(options: Partial<RiscvIommuOptions> = {}, hardware: Partial<UnitOptions> = {}) {
  const start = 10 * GIB;
  const { physical } = container.machine.board;
  physical.attach({ kind: 'ram', start, size: MIB, buffer: new SharedArrayBuffer(MIB) });
  const unit = createUnit({ agents: 1, ...hardware });
  const driver = new RiscvIommu({
    unit: new IommuUnit(unit, physical, () => {}),
    physical,
    kernelRam: { start, size: MIB },
    doorbell: { start: 2 * GIB, size: PAGE },
    ...options,
  });
  const group = container.group(2, [0x30], driver);
  const port = new DmaPort({ unit, agent: 0, did: 0x30, physical, wire: () => {}, counters: createPortCounters() });
  const reaches = (iova: number): boolean => {
    const done = port.write(iova / PAGE, 0, Uint8Array.of(1));
    port.idle();
    return done === 1;
  };
  return { driver, group, reaches };
}

const attach = (group: Parameters<TestContainer['type1']['attachGroup']>[0]) => () =>
  container.type1.attachGroup(group, container.process.task());

describe('attach', () => {
  it('ATT-1: a group twice is EINVAL', () => {
    container = new TestContainer();
    expect(errnoOf(attach(container.realGroup))).toBe('EINVAL');
  });

  it('ATT-2: a group behind the same unit joins its domain: nothing is pinned or written again', () => {
    container = new TestContainer();
    container.map(0, 4 * PAGE, container.memory(4 * PAGE));
    const { pteWrites } = container.machine.driver;
    container.type1.attachGroup(container.group(2, [0x30]), container.process.task());
    expect(container.machine.driver.pteWrites).toBe(pteWrites);
    expect(container.machine.pinner.pinnedPages).toBe(4);
    expect(container.reaches(PAGE, 0x30)).toBe(true);
  });

  it('ATT-2: a group behind another unit of the same kind joins the domain, which spans both', () => {
    container = new TestContainer();
    container.map(0, 4 * PAGE, container.memory(4 * PAGE));
    const { ops, pteWrites } = container.machine.driver;
    const { group, reaches, driver } = secondUnit({ ops });
    attach(group)();
    expect([container.machine.driver.pteWrites, driver.pteWrites]).toEqual([pteWrites, 0]);
    expect([reaches(PAGE), container.reaches(PAGE)]).toEqual([true, true]);
    container.unmapAll();
    expect([reaches(PAGE), container.reaches(PAGE)]).toEqual([false, false]);
  });

  it('ATT-2: a unit whose group has left the shared domain forgets it, also when its GSCID is used again', () => {
    container = new TestContainer();
    container.map(0, PAGE, container.memory(PAGE));
    const { group, reaches, driver } = secondUnit({ ops: container.machine.driver.ops });
    attach(group)();
    expect(reaches(0)).toBe(true);
    container.type1.detachGroup(group);
    container.type1.detachGroup(container.realGroup);
    const domain = driver.allocDomain();
    driver.attach(0x30, domain);
    expect([domain.gscid, reaches(0)]).toEqual([1, false]);
  });

  it.each([
    ['of other coherency', { coherent: true }, {}],
    ['with fewer page sizes', { maxPgshift: 21 }, {}],
    ['without the smallest page', { minPgshift: 21 }, {}],
    ['with a narrower aperture', { apertureBits: 36 }, {}],
    ['that translates MSIs', {}, { msiFlat: false }],
  ] as const)('ATT-2: a unit %s cannot use the domain and gets its own', (_, options, hardware) => {
    container = new TestContainer();
    container.map(0, 4 * MIB, container.memory(4 * MIB));
    const { group, reaches, driver } = secondUnit({ ...options, ops: container.machine.driver.ops }, hardware);
    attach(group)();
    expect(driver.pteWrites).toBeGreaterThan(0);
    expect([reaches(MIB), container.reaches(MIB)]).toEqual([true, true]);
    container.unmapAll();
    expect([reaches(MIB), container.reaches(MIB)]).toEqual([false, false]);
  });

  it('ATT-2: a unit that can do more uses the domain of one that can do less', () => {
    container = new TestContainer({ machine: { driver: { maxPgshift: 12, apertureBits: 36 } } });
    container.map(0, PAGE, container.memory(PAGE));
    const { group, reaches, driver } = secondUnit({ apertureBits: 48, ops: container.machine.driver.ops });
    attach(group)();
    expect([driver.pteWrites, reaches(0)]).toEqual([0, true]);
  });

  it('ATT-2: of two domains the compatible one is joined, though it is older', () => {
    container = new TestContainer();
    const { ops } = container.machine.driver;
    const { group, driver } = secondUnit({ coherent: true, ops });
    attach(group)();
    const joining = container.group(3, [0x38]);
    container.map(0, PAGE, container.memory(PAGE));
    const writes = (): number => container.machine.driver.pteWrites + driver.pteWrites;
    const before = writes();
    attach(joining)();
    expect([container.reaches(0, 0x38), writes()]).toEqual([true, before]);
  });

  it('ATT-6: the smallest page size grows; entries stay, what is smaller is EINVAL from then on', () => {
    container = new TestContainer();
    const { group, reaches } = secondUnit({ minPgshift: 21 });
    container.map(0, 2 * MIB, container.memory(2 * MIB));
    attach(group)();
    expect(reaches(PAGE)).toBe(true);
    const vaddr = container.memory(2 * MIB);
    expect(errnoOf(() => container.map(4 * MIB, PAGE, vaddr))).toBe('EINVAL');
    expect(errnoOf(() => container.map(4 * MIB, 2 * MIB, vaddr))).toBe('ok');
    expect(errnoOf(() => container.unmap(0, PAGE))).toBe('EINVAL');
    container.type1.detachGroup(group);
    expect(errnoOf(() => container.map(6 * MIB, PAGE, vaddr))).toBe('ok');
  });

  it('ATT-6: an entry that the new domain has no page for fails the replay', () => {
    container = new TestContainer();
    container.map(0, PAGE, container.memory(PAGE));
    const { group, reaches } = secondUnit({ minPgshift: 21 });
    expect(errnoOf(attach(group))).toBe('EINVAL');
    expect([container.reaches(0), reaches(0)]).toEqual([true, false]);
    expect(container.machine.pinner.pinnedPages).toBe(1);
  });

  it('ATT-3: a group behind another unit gets a domain with all mappings, of the same pins', () => {
    container = new TestContainer();
    container.map(0, 4 * PAGE, container.memory(4 * PAGE));
    const { group, reaches } = secondUnit();
    expect(reaches(PAGE)).toBe(false);
    attach(group)();
    expect([reaches(PAGE), reaches(4 * PAGE)]).toEqual([true, false]);
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([4, 4]);
    container.map(0x10000, PAGE, container.memory(PAGE));
    expect([reaches(0x10000), container.reaches(0x10000)]).toEqual([true, true]);
    container.unmapAll();
    expect([reaches(PAGE), container.reaches(PAGE)]).toEqual([false, false]);
  });

  it('ATT-3: the first real group pins and charges what an emulated-only container had mapped', () => {
    container = new TestContainer({ real: false });
    attach(container.emulatedGroup)();
    container.map(0, 4 * PAGE, container.memory(4 * PAGE));
    expect(container.process.mm.lockedVm).toBe(0);
    attach(container.realGroup)();
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([4, 4]);
    expect(container.reaches(0)).toBe(true);
  });

  it('ATT-3: a replay that fails leaves the group out and everything as it was', () => {
    container = new TestContainer({ real: false });
    attach(container.emulatedGroup)();
    container.process.ipcLock = false;
    container.process.memlockPages = 5;
    container.map(0, 2 * PAGE, container.memory(2 * PAGE));
    container.map(0x10000, 4 * PAGE, container.memory(4 * PAGE));
    const free = container.machine.driver.nrFreePages;
    expect(errnoOf(attach(container.realGroup))).toBe('ENOMEM');
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([0, 0]);
    // the directory's tables stay
    expect(container.machine.driver.nrFreePages).toBeGreaterThanOrEqual(free - 2);
    container.process.memlockPages = 6;
    expect(errnoOf(attach(container.realGroup))).toBe('ok');
  });

  it.each([
    ['6.12', 'EFAULT'],
    ['7.2', 'ERANGE'],
  ] as const)('ATT-1: an entry beyond the aperture of the first real group: %s %s', (profile, code) => {
    container = new TestContainer({ real: false, profile });
    attach(container.emulatedGroup)();
    container.map(2 ** 40, PAGE, container.memory(PAGE));
    expect(errnoOf(attach(container.realGroup))).toBe(code);
  });

  // The valid list goes up to 2^64 then, and the look-up of what is above the aperture has an end
  // that older kernels take for 0.
  it.each([
    ['6.12', 'EFAULT'],
    ['7.2', 'EINVAL'],
  ] as const)(
    'ATT-1: an entry beyond the aperture of a real group that left and comes again: %s %s',
    (profile, code) => {
      container = new TestContainer({ profile });
      container.type1.attachGroup(container.emulatedGroup, container.process.task());
      container.type1.detachGroup(container.realGroup);
      const vaddr = container.memory(PAGE);
      container.map(2n ** 52n, PAGE, vaddr);
      expect(errnoOf(attach(container.realGroup))).toBe(code);
      container.unmap(2n ** 52n, PAGE);
      expect(errnoOf(attach(container.realGroup))).toBe('ok');
    },
  );

  it('ATT-1: an entry outside the narrower aperture of a second unit, or in the MSI window, is EINVAL', () => {
    container = new TestContainer();
    container.map(2 ** 33, PAGE, container.memory(PAGE));
    const { group } = secondUnit({ apertureBits: 32 });
    expect(errnoOf(attach(group))).toBe('EINVAL');
    container.unmapAll();
    expect(errnoOf(attach(group))).toBe('ok');
    container.close();

    container = new TestContainer({ real: false });
    attach(container.emulatedGroup)();
    container.map(0xfee01000, PAGE, container.memory(PAGE));
    expect(errnoOf(attach(container.realGroup))).toBe('EINVAL');
  });

  it.each([
    ['direct', 'EINVAL', 'EINVAL'],
    ['reserved', 'EINVAL', 'EINVAL'],
    ['direct-relaxable', 'ok', 'ok'],
  ] as const)('ATT-1: a %s region: over an entry %s, later maps there %s', (type, over, later) => {
    container = new TestContainer({ real: false });
    Object.assign(container.machine.driver, { reservedRegions: () => [{ vpn: 0x100, nrPages: 0x10, type }] });
    attach(container.emulatedGroup)();
    const vaddr = container.memory(PAGE);
    container.map(0x10f000, PAGE, vaddr);
    expect(errnoOf(attach(container.realGroup))).toBe(over);
    container.type1.detachGroup(container.realGroup);
    container.unmapAll();
    attach(container.realGroup)();
    expect(errnoOf(() => container.map(0x10f000, PAGE, vaddr))).toBe(later);
    expect(errnoOf(() => container.map(0x110000, PAGE, vaddr))).toBe('ok');
  });

  it('ST-1, ATT-6: page sizes and valid iovas are those that all domains share', () => {
    container = new TestContainer();
    attach(secondUnit({ apertureBits: 36, maxPgshift: 21 }).group)();
    const view = new DataView(container.info(256).buffer);
    expect(view.getBigUint64(8, true)).toBe(0x20_1000n);
    expect(view.getBigUint64(72 + 16 + 24, true)).toBe(0xf_ffff_ffffn);
    const vaddr = container.memory(PAGE);
    expect(errnoOf(() => container.map(2 ** 36, PAGE, vaddr))).toBe('EINVAL');
  });

  it('ATT-8: they widen again when the group leaves, and its device faults', () => {
    container = new TestContainer();
    const { group, reaches, driver } = secondUnit({ apertureBits: 36, maxPgshift: 21 });
    attach(group)();
    container.map(0, PAGE, container.memory(PAGE));
    expect(reaches(0)).toBe(true);
    container.type1.detachGroup(group);
    expect([reaches(0), container.reaches(0)]).toEqual([false, true]);
    expect(driver.drainFaults().at(-1)?.did).toBe(0x30);
    const view = new DataView(container.info(256).buffer);
    expect(view.getBigUint64(8, true)).toBe(0x4020_1000n);
    expect(errnoOf(() => container.map(2 ** 36, PAGE, container.memory(PAGE)))).toBe('ok');
  });

  it('ATT-8: a domain with another group in it goes on', () => {
    container = new TestContainer();
    attach(container.group(2, [0x30]))();
    container.map(0, PAGE, container.memory(PAGE));
    container.type1.detachGroup(container.realGroup);
    expect([container.reaches(0), container.reaches(0, 0x30)]).toEqual([false, true]);
    expect(container.type1.stats.mappings).toBe(1);
  });

  it('ATT-8: with the last group all mappings, pins and charges go', () => {
    container = new TestContainer();
    container.map(0, 4 * PAGE, container.memory(4 * PAGE));
    container.type1.detachGroup(container.realGroup);
    expect(container.type1.stats.mappings).toBe(0);
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([0, 0]);
    expect(container.reaches(0)).toBe(false);
  });

  it('ATT-1, RSV-7: without interrupt remapping EPERM, unless allow_unsafe_interrupts', () => {
    const parameters = { dmaEntryLimit: 10, allowUnsafeInterrupts: false };
    container = new TestContainer({ real: false, parameters, machine: { driver: { isolatedMsi: false } } });
    expect(errnoOf(attach(container.realGroup))).toBe('EPERM');
    parameters.allowUnsafeInterrupts = true;
    expect(errnoOf(attach(container.realGroup))).toBe('ok');
  });

  it('CORE-3: a nesting container takes no group of an IOMMU that cannot nest', () => {
    container = new TestContainer({ real: false });
    Object.assign(container, { type1: container.open(6) });
    expect(errnoOf(attach(container.realGroup))).toBe('EINVAL');
  });

  it('VAD-15: refused while a vaddr is invalid, in 6.3+', () => {
    container = new TestContainer();
    const vaddr = container.memory(PAGE);
    container.map(0, PAGE, vaddr);
    container.unmap(0, PAGE, UNMAP_VADDR);
    expect(errnoOf(attach(container.group(2, [0x30])))).toBe('EBUSY');
    expect(errnoOf(attach(container.emulatedGroup))).toBe('EBUSY');
    container.map(0, PAGE, vaddr, VADDR);
    expect(errnoOf(attach(container.group(2, [0x30])))).toBe('ok');
  });
});

it('an error in the second domain undoes the first (IOM-2)', () => {
  container = new TestContainer();
  const { group, driver, reaches } = secondUnit();
  attach(group)();
  const vaddr = container.memory(4 * MIB);
  // The second unit has 1 MiB for tables: 256 pages, some in use. 4 KiB leaves 2 MiB apart need a
  // table each.
  let code = 'ok';
  for (let i = 0; code === 'ok'; i++) code = errnoOf(() => container.map(i * 2 * MIB, PAGE, vaddr, RW));
  expect(code).toBe('ENOMEM');
  const { mappings } = container.type1.stats;
  expect([container.reaches(mappings * 2 * MIB), reaches(mappings * 2 * MIB)]).toEqual([false, false]);
  expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([mappings, mappings]);
  container.unmapAll();
  expect(driver.nrFreePages).toBeGreaterThan(240);
});
