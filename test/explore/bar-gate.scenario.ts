/**
 * iommu/bus/bar-gate.ts and those who take a BAR back from other devices: when that has returned,
 * no device reaches the BAR (P2P-4, P2P-7, P2P-10).
 */
import assert from 'node:assert/strict';
import { BarGate, createBarGate } from '../../iommu/bus/bar-gate.ts';
import type { PciFunction } from '../../iommu/bus/pci-function.ts';
import type { DeviceMemory } from '../../iommu/kernel/mm/device-memory.ts';
import { PeerReturn } from '../../iommu/kernel/vfio/pci/peer-return.ts';
import { RamBars } from '../../iommu/kernel/vfio/pci/ram-bars.ts';
import { close } from '../../platform/libc/fd.ts';
import { type BoardMemory, boardMemory, names as boardNames, kernel, port, VPN } from './iommu-board.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const FD = 7;
const SIZE = 4096;

/** Plain words of `file`. */
const VALUE = 0; // what its bytes are
const STASHED = 1; // what the kernel has read
const IS_CUT = 2; // 1 when it has no bytes
const IS_BACK = 3; // 1 when the kernel has closed it, because no device reaches it

function memory() {
  const gate = createBarGate();
  new BarGate(gate).setDecoding(true);
  return { ...boardMemory(1), gate, file: new SharedArrayBuffer(64) };
}
type Memory = ReturnType<typeof memory>;

/** The object of the BAR. Only devices write to it. */
function libc({ file }: Memory): LibcModel {
  const words = new Int32Array(file);
  return {
    fileSize: () => SIZE,
    dataExtent: () => ({ start: 0, end: SIZE }),
    pwrite: (_fd: number, bytes: Uint8Array) => {
      assert.equal(words[IS_CUT], 0, 'a device writes to a BAR that has no bytes');
      assert.equal(words[IS_BACK], 0, 'a device writes to a BAR that was taken back');
      words[VALUE]!++;
      return bytes.length;
    },
    pread: (_fd: number, bytes: Uint8Array) => {
      words[STASHED] = words[VALUE]!;
      return bytes.length;
    },
    close: () => {
      words[IS_BACK] = 1;
    },
    ftruncate: () => {
      assert.equal(words[STASHED], words[VALUE], 'a write came between the copy and the cut, and is lost');
      words[IS_CUT] = 1;
    },
  };
}

function names(buffer: string, word: number): string | undefined {
  if (buffer !== 'gate') return boardNames(buffer, word);
  return word === 0 ? 'decoding' : ['withdrawn', 'returning'][word - 16];
}

/** A device that writes to the BAR, twice in a burst and once after it. */
function device(memory: Memory): void {
  const dma = port(memory as BoardMemory, 0, { peer: { gate: memory.gate, fd: FD } });
  const frame = new Uint8Array(8);
  for (const writes of [2, 1]) {
    for (let i = 0; i < writes; i++) dma.write(VPN, 0, frame);
    dma.idle();
  }
}

/** COMMAND.memory is cleared while another device writes: the bytes are put away. */
export const barWithdrawn = defineScenario({
  file: import.meta.url,
  name: 'bar-withdrawn',
  memory,
  libc,
  names,
  actors: {
    device,
    kernel: (memory) => {
      const { commands } = kernel(memory as BoardMemory);
      const ramBars = [{ bar: 2, at: 0, size: SIZE }];
      const fn = { object: FD, ramBars, barGate: memory.gate } as unknown as PciFunction;
      new RamBars(fn, () => commands.fence()).withdraw();
    },
  },
});

/** The BAR's device is closed; a container that has mapped it lets go only later. */
export const barTakenBack = defineScenario({
  file: import.meta.url,
  name: 'bar-taken-back',
  memory,
  libc,
  names,
  actors: {
    device,
    kernel: (memory) => {
      const { commands } = kernel(memory as BoardMemory);
      const busy = { users: new Set([() => new Promise<void>(() => {})]) } as unknown as DeviceMemory;
      new PeerReturn(memory.gate, () => commands.fence()).takeBack([busy]);
      close(FD);
    },
  },
});
