import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';

import { VIRTIO_STATE } from '../../../devices/virtio/device.ts';
import { entropy } from '../../../devices/virtio/rng.ts';
import { parseElf } from '../../../guest/elf.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { guestPath } from '../../../tools/launch/programs.ts';
import { IMSIC, IOMMU, PCIE_ECAM } from '../../../vmm/machine/shared/memory-map.ts';
import { VIRTIO_SECTION } from '../../../vmm/machine/shared/virtio-devices.ts';
import { BareMachine, type BareOptions } from './bare-machine.ts';

/** docs/machine.md, "virtio": MSI-X. */

const RAM_BYTES = 4 << 20;
const CONFIG = PCIE_ECAM.base + (1 << 15);
const TABLE = 0x4000_0000;
const COMMON = 0x4001_0000;
const NOTIFY = COMMON + 0x3000;
const MASKED = 1n;

let bare: BareMachine;
const newMachine = (more: Partial<BareOptions> = {}): BareMachine => {
  const virtio = [{ transport: 'pci', kind: entropy(), iommuPlatform: true }] as const;
  return new BareMachine({ ramBytes: RAM_BYTES, aia: 'aplic-imsic', virtio, ...more });
};

/** The same machine, in another image of the VMM. */
function successorOf(old: BareMachine, more: Partial<BareOptions> = {}): BareMachine {
  const next = newMachine(more);
  new Uint8Array(next.ram).set(new Uint8Array(old.ram));
  next.machine.harts[0]!.imsic.restore(old.machine.harts[0]!.imsic.save());
  next.machine.restore(old.machine.save());
  return next;
}

const store = (gpa: number, size: 1 | 2 | 4 | 8, value: bigint) => bare.machine.shared.bus.store(gpa, size, value, 0);
const load = (gpa: number, size: 1 | 2 | 4 | 8) => bare.machine.shared.bus.load(gpa, size);
/** Bits of the identities 0 to 31. */
const pending = () => bare.machine.harts[0]!.imsic.save().pending[0]!;

/**
 * The device interrupts its queue, by vector 0, or by that of the device, 1, if its queue is
 * broken.
 */
function interrupt(queue: 'works' | 'broken'): void {
  const ring = new DataView(bare.ram, 0x1_0000);
  const given = ring.getUint16(0x102, true) + 1;
  ring.setBigUint64(0, 0x8002_0000n, true);
  ring.setUint32(8, 16, true);
  ring.setUint16(12, queue === 'works' ? 2 : 0x12, true);
  if (queue === 'broken') ring.setBigUint64(0, 0x10n, true);
  ring.setUint16(0x104 + 2 * ((given - 1) % 8), 0, true);
  ring.setUint16(0x102, given, true);
  store(NOTIFY, 2, 0n);
}

function bringUp(): void {
  store(CONFIG + 0x14, 4, BigInt(TABLE));
  store(CONFIG + 0x20, 4, BigInt(COMMON));
  store(CONFIG + 4, 2, 6n);
  store(COMMON + 0x14, 1, 3n);
  store(COMMON + 0x08, 4, 1n);
  store(COMMON + 0x0c, 4, 3n);
  store(COMMON + 0x14, 1, 0xbn);
  [0x8001_0000n, 0x8001_0100n, 0x8001_0200n].forEach((area, i) => {
    store(COMMON + 0x20 + 8 * i, 8, area);
  });
  store(COMMON + 0x1c, 2, 1n);
  store(COMMON + 0x14, 1, 0xfn);
}

/** Vector v sends to `gpa` the identity 5 + v. */
function programVectors(gpa: bigint): void {
  for (const vector of [0, 1]) {
    store(TABLE + 16 * vector, 8, gpa);
    store(TABLE + 16 * vector + 8, 4, BigInt(5 + vector));
    store(TABLE + 16 * vector + 12, 4, 0n);
  }
  store(COMMON + 0x1a, 2, 0n);
  store(COMMON + 0x10, 2, 1n);
  store(CONFIG + 0x9a, 2, 0x8000n);
}

describe('MSI-X of a virtio function', () => {
  beforeEach(() => {
    bare = newMachine();
    bringUp();
    programVectors(BigInt(IMSIC.machine.base));
  });

  it('has a vector for the queue and one for the device', () => {
    expect([load(CONFIG + 0x9a, 2), load(CONFIG + 0x9c, 4), load(CONFIG + 0xa0, 4)]).toEqual([0x8001n, 1n, 0x801n]);
    interrupt('works');
    expect(pending()).toBe(1 << 5);
    interrupt('broken');
    expect(pending()).toBe((1 << 5) | (1 << 6));
  });

  it.each([
    ['the vector', () => store(TABLE + 12, 4, MASKED), () => store(TABLE + 12, 4, 0n)],
    ['the function', () => store(CONFIG + 0x9a, 2, 0xc000n), () => store(CONFIG + 0x9a, 2, 0x8000n)],
  ])('keeps a message while %s is masked, over an update, too', (_, mask, unmask) => {
    mask();
    interrupt('works');
    expect([pending(), load(TABLE + 0x800, 4)]).toEqual([0, 1n]);
    bare = successorOf(bare);
    expect([pending(), load(TABLE + 0x800, 4)]).toEqual([0, 1n]);
    unmask();
    expect([pending(), load(TABLE + 0x800, 4)]).toEqual([1 << 5, 0n]);
  });

  it('sends nothing again when an image takes over', () => {
    interrupt('works');
    bare.machine.harts[0]!.imsic.reset();
    bare = successorOf(bare);
    expect(pending()).toBe(0);
    interrupt('works');
    expect(pending()).toBe(1 << 5);
  });

  it('gives no vector that it does not have, and none after a reset', () => {
    store(COMMON + 0x1a, 2, 2n);
    expect([load(COMMON + 0x1a, 2), load(COMMON + 0x10, 2)]).toEqual([0xffffn, 1n]);
    interrupt('works');
    expect(pending()).toBe(0);
    store(COMMON + 0x14, 1, 0n);
    expect(load(COMMON + 0x10, 2)).toBe(0xffffn);
  });

  it('loses messages of a function that is no bus master', () => {
    store(TABLE + 12, 4, MASKED);
    interrupt('works');
    store(CONFIG + 4, 2, 2n);
    store(TABLE + 12, 4, 0n);
    expect(pending()).toBe(0);
  });

  it('is not there for a guest whose state knows none', () => {
    const { virtio } = bare.machine.save();
    const devices = virtio!.devices.map(({ config, device }) => ({ config, device }));
    expect(VIRTIO_SECTION.decode({ version: 1, devices } as never).devices[0]!.messages).toBeNull();
    expect(VIRTIO_STATE(devices[0]!.device, 'device')).toEqual(devices[0]!.device);
  });
});

describe('behind an IOMMU', () => {
  const DIRECTORY = 0x8003_0000;
  const FAULTS = 0x8007_0000;
  const TABLES = [0x8004_0000, 0x8005_0000, 0x8006_0000] as const;
  const LEAF = 0xd7; // V, R, W, U, A, D
  const did = 1 << 3;

  beforeEach(() => {
    bare = newMachine({ iommu: true });
    const ram = new DataView(bare.ram);
    const entry = (at: number, pa: number, bits: number) =>
      ram.setBigUint64(at - 0x8000_0000, (BigInt(pa / 4096) << 10n) | BigInt(bits), true);
    ram.setBigUint64(DIRECTORY - 0x8000_0000 + 64 * did, 1n, true);
    ram.setBigUint64(DIRECTORY - 0x8000_0000 + 64 * did + 24, (8n << 60n) | BigInt(TABLES[0] / 4096), true);
    entry(TABLES[0] + 8, TABLES[1], 1); // iovas from 4000_0000 on
    entry(TABLES[1], TABLES[2], 1);
    entry(TABLES[2], IMSIC.machine.base, LEAF);
    entry(TABLES[0] + 16, 0x8000_0000, LEAF); // 1 GiB at 8000_0000
    store(IOMMU.base + REG.fqb, 8, BigInt(FAULTS / 4096) * 1024n + 3n);
    store(IOMMU.base + REG.msiCfgTbl, 8, BigInt(IMSIC.machine.base)); // faults are identity 9
    store(IOMMU.base + REG.msiCfgTbl + 8, 4, 9n);
    store(IOMMU.base + REG.fqcsr, 4, 3n);
    store(IOMMU.base + REG.ddtp, 8, BigInt(DIRECTORY / 4096) * 1024n + 2n);
    bringUp();
  });

  it('a message goes where the unit lets it, and nowhere else', () => {
    programVectors(0x4000_0000n);
    interrupt('works');
    expect([pending(), load(IOMMU.base + REG.fqt, 4)]).toEqual([1 << 5, 0n]);
    bare.machine.harts[0]!.imsic.reset();
    programVectors(BigInt(IMSIC.machine.base)); // no iova
    interrupt('works');
    expect([pending(), load(IOMMU.base + REG.fqt, 4)]).toEqual([1 << 9, 1n]);
  });

  it('a device that is restored tells the guest of no fault', () => {
    store(IOMMU.base + REG.ddtp, 8, 0n); // what it looks at first, its ring, cannot be reached
    bare = successorOf(bare, { iommu: true });
    expect([pending(), load(IOMMU.base + REG.fqt, 4), load(IOMMU.base + REG.fqcsr, 4)]).toEqual([0, 0n, 0x1_0003n]);
    store(NOTIFY, 2, 0n);
    expect([pending(), load(IOMMU.base + REG.fqt, 4)]).toEqual([1 << 9, 1n]);
  });
});

it('the guest `messages` takes each message once, over updates in the middle of anything', () => {
  const image = { ...parseElf(readFileSync(guestPath('messages'))), next: undefined, tree: { ramSize: RAM_BYTES } };
  bare = newMachine({ image });
  for (let updates = 0; updates < 15; updates++) {
    bare.run(20_000 + 700 * updates);
    bare = successorOf(bare);
  }
  bare.input.push(Buffer.from('sx'));
  expect(bare.run(1_000_000)).toBe('poweroff');
  expect(bare.printed).toMatch(/@stats \{"rounds":\d+,"messages":\d+,"early":0,"bad":0,"lost":0\}/);
});
