/** A board with one IOMMU unit, a guest page behind a mapping and a page table made by the real driver: what the scenarios of iommu/ share. */
import { createPortCounters } from '../../iommu/hardware/counters.ts';
import { createDoorbellTable } from '../../iommu/hardware/interrupts.ts';
import { type PaRange, PhysicalMemory } from '../../iommu/hardware/physical.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { IommuUnit } from '../../iommu/hardware/unit.ts';
import { Agent, agentBase, createUnit, Unit } from '../../iommu/hardware/unit-memory.ts';
import { CommandQueue } from '../../iommu/kernel/driver/command-queue.ts';
import { IommuDriver } from '../../iommu/kernel/driver/driver.ts';
import type { KernelRam } from '../../iommu/kernel/driver/kernel-ram.ts';

const PAGE = 4096;
const DRIVER_PAGES = 22;
/** The command queue of the actor that plays the kernel: a page the driver does not know. */
const QUEUE_PAGE = DRIVER_PAGES;
const DOORBELL_PA = 0x1000_0000;
const KERNEL_PA = 0x4000_0000;
/** Above 2^34: without the high half of its entry it would be DECOY_PA. */
const GUEST_PA = 0x8_0000_0000;
const DECOY_PA = 0;

/** Two pages of guest RAM; the first is mapped. */
export const GUEST_PFN = GUEST_PA / PAGE;
export const VPN = 0x100;
export const MSI_VPN = 0xfee00;
/** Device of agent 0; that of agent 1 is the next. */
export const DID = 0x10;
/** Of the first domain of a driver. */
export const GSCID = 1;

export interface BoardMemory extends Record<string, SharedArrayBuffer> {
  readonly unit: SharedArrayBuffer;
  readonly kernelRam: SharedArrayBuffer;
  readonly guest: SharedArrayBuffer;
  readonly doorbells: SharedArrayBuffer;
  readonly counters0: SharedArrayBuffer;
  readonly counters1: SharedArrayBuffer;
  /** Where nobody may write. */
  readonly decoy: SharedArrayBuffer;
  /** Plain: index in kernelRam of the low word of VPN's leaf, and its two words. */
  readonly setup: SharedArrayBuffer;
}

const ranges = ({ kernelRam, guest, doorbells, decoy }: BoardMemory): PaRange[] => [
  { kind: 'ram', start: DECOY_PA, size: decoy.byteLength, buffer: decoy },
  { kind: 'doorbell', start: DOORBELL_PA, size: PAGE, interrupts: doorbells },
  { kind: 'ram', start: KERNEL_PA, size: kernelRam.byteLength, buffer: kernelRam },
  { kind: 'ram', start: GUEST_PA, size: guest.byteLength, buffer: guest },
];

const noWire = (): void => undefined;

/** The board after the kernel has mapped VPN and attached the devices of `agents` agents to the domain. */
export function boardMemory(agents: 1 | 2): BoardMemory {
  const memory: BoardMemory = {
    unit: createUnit({ agents }),
    kernelRam: new SharedArrayBuffer((DRIVER_PAGES + 1) * PAGE),
    guest: new SharedArrayBuffer(2 * PAGE),
    doorbells: createDoorbellTable(),
    counters0: createPortCounters(),
    counters1: createPortCounters(),
    decoy: new SharedArrayBuffer(PAGE),
    setup: new SharedArrayBuffer(64),
  };
  const physical = new PhysicalMemory(ranges(memory));
  const driver = new IommuDriver({
    unit: new IommuUnit(memory.unit, physical, noWire),
    physical,
    kernelRam: { start: KERNEL_PA, size: DRIVER_PAGES * PAGE },
    doorbell: { start: DOORBELL_PA, size: PAGE },
  });
  const domain = driver.allocDomain();
  domain.map(VPN, GUEST_PFN, 1, 3);
  for (let agent = 0; agent < agents; agent++) driver.attach(DID + agent, domain);
  const words = new Int32Array(memory.kernelRam);
  const before = words.slice();
  domain.unmap(VPN, 1);
  // The entries of the tables on the way are cleared, too; those lie in pages that were allocated before.
  const leaf = words.findLastIndex((word, i) => word !== before[i]);
  words.set(before);
  new Int32Array(memory.setup).set([leaf, words[leaf]!, words[leaf + 1]!]);
  return memory;
}

/** A device worker's port. */
export function port(memory: BoardMemory, agent: 0 | 1): DmaPort {
  return new DmaPort({
    unit: memory.unit,
    agent,
    did: DID + agent,
    physical: new PhysicalMemory(ranges(memory)),
    wire: noWire,
    counters: agent === 0 ? memory.counters0 : memory.counters1,
  });
}

/** The kernel's command queue, and its words of kernel RAM. */
export function kernel(memory: BoardMemory): { commands: CommandQueue; words: Int32Array } {
  const physical = new PhysicalMemory(ranges(memory));
  const words = new Int32Array(memory.kernelRam);
  const ram = { words, allocate: () => KERNEL_PA / PAGE + QUEUE_PAGE, wordOf: () => (QUEUE_PAGE * PAGE) / 4 };
  return {
    words,
    commands: new CommandQueue(new IommuUnit(memory.unit, physical, noWire), ram as unknown as KernelRam),
  };
}

/** VPN's leaf: index in kernel RAM, and the two halves that map it. */
export function leafOf({ setup }: BoardMemory): { readonly at: number; readonly lo: number; readonly hi: number } {
  const [at, lo, hi] = new Int32Array(setup);
  return { at: at!, lo: lo!, hi: hi! };
}

export function names(buffer: string, word: number): string | undefined {
  if (buffer === 'unit') {
    const agent = [0, 1].find((n) => word >= agentBase(n) && word < agentBase(n + 1));
    if (agent !== undefined) {
      const field = { [Agent.word.epoch]: 'epoch', [Agent.word.waiters]: 'waiters' }[word - agentBase(agent)];
      return `agent${agent}.${field}`;
    }
    const field = Object.entries(Unit.word).findLast(([, at]) => at <= word);
    return field?.[1] === word ? field[0] : `${field?.[0]}[${word - (field?.[1] ?? 0)}]`;
  }
  return undefined;
}
