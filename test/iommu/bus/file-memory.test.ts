import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BarGate, createBarGate } from '../../../iommu/bus/bar-gate.ts';
import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { close } from '../../../platform/libc/fd.ts';
import { pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import { createMemory } from '../../../platform/memory.ts';

const START = 0x10_0000;
const SIZE = 8192;
const VPN = START / 4096;

/** A port without an IOMMU in front: iova = pa. */
function portTo(physical: PhysicalMemory) {
  const counters = createPortCounters();
  const port = new DmaPort({ agent: 0, did: 0, physical, wire: () => {}, counters });
  return { port, counts: () => readPortCounters(counters) };
}

let fd: number;
beforeEach(() => {
  fd = createMemory('object', SIZE);
});
afterEach(() => close(fd));

describe('a RAM BAR in the memory map', () => {
  const bar = () => {
    const gate = createBarGate();
    return {
      gate: new BarGate(gate),
      ...portTo(new PhysicalMemory([{ kind: 'bar', start: START, size: SIZE, fd, at: 0, gate }])),
    };
  };
  const bytes = () => Uint8Array.of(1, 2, 3, 4);

  it('answers while its function decodes and the kernel has not withdrawn it', () => {
    const { gate, port, counts } = bar();
    gate.setDecoding(true);

    const written = port.write(VPN, 16, bytes());
    const read = new Uint8Array(4);
    port.read(VPN, 16, read);

    expect(written).toBe(4);
    expect([...read]).toEqual([1, 2, 3, 4]);
    expect(counts()).toMatchObject({ bytesWritten: 4, bytesRead: 4, faults: 0 });
  });

  it.each([
    ['not decoding', false, false],
    ['withdrawn', true, true],
  ])(
    '%s: every access is an Unsupported Request and no fault of the IOMMU, the bytes stay (P2P-7)',
    (_, decoding, withdrawn) => {
      const { gate, port, counts } = bar();
      pwrite(fd, bytes(), 16);
      gate.setDecoding(decoding);
      gate.setWithdrawn(withdrawn);

      const moved = [port.write(VPN, 16, new Uint8Array(4)), port.read(VPN, 16, new Uint8Array(4))];
      const overPages = [port.write(VPN, 4090, new Uint8Array(12)), port.read(VPN, 4090, new Uint8Array(12))];
      const stored = port.write32(VPN, 16, 0);

      const kept = new Uint8Array(4);
      pread(fd, kept, 16);
      expect([...moved, ...overPages, stored]).toEqual([0, 0, 0, 0, false]);
      expect([...kept]).toEqual([1, 2, 3, 4]);
      expect(counts()).toMatchObject({ transactions: 5, bytesWritten: 0, bytesRead: 0, faults: 0, unsupported: 5 });
    },
  );

  it('answers again as soon as it decodes again', () => {
    const { gate, port } = bar();
    gate.setDecoding(true);
    port.write(VPN, 0, bytes());
    gate.setDecoding(false);
    const refused = port.write(VPN, 0, new Uint8Array(4));
    gate.setDecoding(true);

    expect([refused, port.write(VPN, 0, bytes())]).toEqual([0, 4]);
  });
});
