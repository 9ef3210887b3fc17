import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';

import { entropy } from '../../../devices/virtio/rng.ts';
import { parseElf } from '../../../guest/elf.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { guestPath } from '../../../tools/launch/programs.ts';
import { APLIC, IMSIC, IOMMU, IOMMU_IRQ, PLIC } from '../../../vmm/machine/shared/memory-map.ts';
import { BareMachine } from './bare-machine.ts';
import { GUEST_IOMMU_SHOWS } from './guest-iommu-shows.ts';

/** docs/machine.md, "The guest's own IOMMU". */

const RAM_BYTES = 4 << 20;
const image = { ...parseElf(readFileSync(guestPath('guest-iommu'))), next: undefined, tree: { ramSize: RAM_BYTES } };
const rng = { transport: 'pci', kind: entropy(), iommuPlatform: true } as const;
const newMachine = (withGuest: boolean): BareMachine =>
  new BareMachine({
    ...{ ramBytes: RAM_BYTES, aia: 'none', iommu: true, virtio: [rng] },
    ...(withGuest ? { image } : {}),
  });

/** The same machine, in another image of the VMM. */
function successorOf(old: BareMachine): BareMachine {
  const next = newMachine(false);
  new Uint8Array(next.ram).set(new Uint8Array(old.ram));
  next.machine.restore(old.machine.save());
  return next;
}

describe('a guest that drives its own IOMMU', () => {
  it('sees what QEMU shows it, and goes on over updates in the middle of anything', () => {
    let bare = newMachine(true);
    let printed = '';
    for (let updates = 0; updates < 25; updates++) {
      bare.run(30_000 + 1_700 * updates);
      printed += bare.printed;
      bare = successorOf(bare);
    }
    bare.input.push(Buffer.from('sx'));
    expect(bare.run(2_000_000)).toBe('poweroff');
    const shown = printed + bare.printed;
    expect(shown.slice(0, GUEST_IOMMU_SHOWS.length)).toBe(GUEST_IOMMU_SHOWS);
    expect(shown.slice(GUEST_IOMMU_SHOWS.length)).toMatch(/^@stats \{"rounds":\d+,"faults":\d+,"bad":0,"lost":0\}\n*$/);
  });
});

describe("the unit's registers in the memory map", () => {
  const QUEUE = 0x8000_1000;
  const FAULTS = IOMMU_IRQ + 1;
  let bare: BareMachine;
  const write = (offset: number, value: bigint, size: 4 | 8 = 4) =>
    bare.machine.shared.bus.store(IOMMU.base + offset, size, value, 0);
  const read = (offset: number, size: 4 | 8 = 4) => bare.machine.shared.bus.load(IOMMU.base + offset, size);
  const isPending = (source: number) => {
    const word = bare.machine.shared.bus.load(PLIC.base + 0x1000 + 4 * (source >> 5), 4)!;
    return (word & (1n << BigInt(source & 31))) !== 0n;
  };
  /** Its fault goes to the queue: the directory is off (cause 256). */
  const translate = () => write(REG.trReqCtl, 1n, 8);

  function enableFaults(): void {
    write(REG.fctl, 2n); // WSI
    write(REG.icvec, 0x3210n, 8);
    write(REG.fqb, BigInt((QUEUE >>> 12) * 1024 + 1), 8); // 4 entries
    write(REG.fqcsr, 3n);
  }

  beforeEach(() => {
    bare = newMachine(false);
    enableFaults();
  });

  it('take accesses of 4 and 8 bytes', () => {
    expect([read(REG.capabilities)! & 0xffn, read(REG.icvec, 8), read(0xff8, 8)]).toEqual([0x10n, 0x3210n, 0n]);
    expect(bare.machine.shared.bus.load(IOMMU.base, 2)).toBe(undefined);
    expect(bare.machine.shared.bus.store(IOMMU.base + REG.fqh, 1, 1n, 0)).toBe(false);
  });

  it('keep the wire of a cause up until software clears its bit', () => {
    translate();
    expect([isPending(FAULTS), isPending(IOMMU_IRQ), read(REG.fqt), read(REG.ipsr)]).toEqual([true, false, 1n, 2n]);
    const claimed = claim(FAULTS);
    translate(); // no new edge of ipsr: it is still set
    complete(claimed);
    expect(isPending(FAULTS)).toBe(true);
    write(REG.ipsr, 2n);
    complete(claim(FAULTS));
    expect(isPending(FAULTS)).toBe(false);
  });

  it('go to the next image with a fault that nobody has taken', () => {
    translate();
    const registers = Array.from({ length: REG.end / 4 }, (_, word) => read(4 * word));
    bare = successorOf(bare);
    expect(Array.from({ length: REG.end / 4 }, (_, word) => read(4 * word))).toEqual(registers);
    expect([isPending(FAULTS), new Int32Array(bare.ram)[(QUEUE - 0x8000_0000) / 4]]).toEqual([true, 256]);
    translate();
    expect(read(REG.fqt)).toBe(2n);
  });

  it('have wires to an APLIC, where there is one', () => {
    const aplic = APLIC.machine.base;
    const store = (at: number, value: number) => bare.machine.shared.bus.store(at, 4, BigInt(value), 0);
    bare = new BareMachine({ ramBytes: RAM_BYTES, aia: 'aplic-imsic', aplic: true, iommu: true, virtio: [rng] });
    store(aplic + 0x1bc0, IMSIC.machine.base / 4096);
    store(aplic + 4 * FAULTS, 6); // sourcecfg: a level
    store(aplic + 0x3000 + 4 * FAULTS, 11); // target: hart 0
    store(aplic + 0x1edc, FAULTS); // setienum
    store(aplic, 0x100); // domaincfg
    enableFaults();
    expect(bare.machine.harts[0]!.imsic.save().pending[0]).toBe(0);
    translate();
    expect(bare.machine.harts[0]!.imsic.save().pending[0]).toBe(1 << 11);
  });

  it('are as at power-on after a reset', () => {
    translate();
    bare.machine.reset();
    expect([REG.fctl, REG.fqb, REG.fqt, REG.fqcsr, REG.ipsr].map((offset) => read(offset))).toEqual([
      0n,
      0n,
      0n,
      0n,
      0n,
    ]);
    expect([read(REG.capabilities)! & 0xffn, isPending(FAULTS)]).toEqual([0x10n, false]);
  });

  it('refuse the state of a unit that can do other things', () => {
    const state = bare.machine.save();
    const registers = state.iommu!.registers.map((word, at) => (at === 0 ? word ^ 0x200 : word));
    expect(() => bare.machine.restore({ ...state, iommu: { ...state.iommu!, registers } })).toThrow(/capabilities/);
  });

  function claim(source: number): bigint {
    const { bus } = bare.machine.shared;
    bus.store(PLIC.base + 4 * source, 4, 1n, 0);
    bus.store(PLIC.base + 0x2000 + 4 * (source >> 5), 4, 1n << BigInt(source & 31), 0);
    return bus.load(PLIC.base + 0x20_0004, 4)!;
  }

  function complete(source: bigint): void {
    expect(source).toBe(BigInt(FAULTS));
    bare.machine.shared.bus.store(PLIC.base + 0x20_0004, 4, source, 0);
  }
});
