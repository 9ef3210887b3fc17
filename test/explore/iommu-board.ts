/**
 * The board that the scenarios of iommu/ share: one IOMMU unit or two, a guest page behind a
 * mapping, and a page table made by the real driver.
 */
import { BarGate, createBarGate } from '../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { createDoorbellTable } from '../../iommu/bus/interrupts.ts';
import type { PeerRequester } from '../../iommu/bus/peer-cycles.ts';
import { PhysicalMemory } from '../../iommu/bus/physical.ts';
import type { PaRange } from '../../iommu/bus/range.ts';
import { msiEntryLo } from '../../iommu/hardware/msi.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { clearEntry, entryHi, entryLo, publishEntry } from '../../iommu/hardware/pte.ts';
import { IommuUnit } from '../../iommu/hardware/unit.ts';
import { Agent, agentBase, createUnit, Unit } from '../../iommu/hardware/unit-memory.ts';
import { CommandQueue } from '../../iommu/kernel/driver/command-queue.ts';
import type { KernelRam } from '../../iommu/kernel/driver/kernel-ram.ts';
import type { PageTable } from '../../iommu/kernel/driver/page-table.ts';
import { type DomainShape, RiscvDomain } from '../../iommu/kernel/driver/riscv-domain.ts';
import { RiscvIommu } from '../../iommu/kernel/driver/riscv-iommu.ts';
import { RiscvOps } from '../../iommu/kernel/driver/riscv-ops.ts';

const PAGE = 4096;
const DRIVER_PAGES = 22;
/** The command queue of the actor that plays the kernel: a page the driver does not know. */
const QUEUE_PAGE = DRIVER_PAGES;
const DOORBELL_PA = 0x1000_0000;
export const DOORBELL_PFN = DOORBELL_PA / PAGE;
const KERNEL_PA = 0x4000_0000;
/** The share of the second unit's driver. */
const KERNEL1_PA = 0x5000_0000;
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
  /** The second unit and its driver's RAM; used where there are two. */
  readonly unit1: SharedArrayBuffer;
  readonly kernelRam1: SharedArrayBuffer;
  readonly guest: SharedArrayBuffer;
  readonly doorbells: SharedArrayBuffer;
  readonly counters0: SharedArrayBuffer;
  readonly counters1: SharedArrayBuffer;
  /** Where nobody may write. */
  readonly decoy: SharedArrayBuffer;
  /**
   * Plain: index in kernelRam of the low word of VPN's leaf, and its two words; index of the MSI
   * page table.
   */
  readonly setup: SharedArrayBuffer;
}

/** A device whose registers lie behind the mapping, in place of `guest`. */
export interface PeerMemory {
  readonly box: SharedArrayBuffer;
  readonly mailbox: SharedArrayBuffer;
}

const registersAt = ({ box, mailbox }: PeerMemory, start: number): PaRange => {
  const gate = createBarGate();
  new BarGate(gate).setDecoding(true);
  return { kind: 'registers', start, size: PAGE, bar: 0, box, mailbox, gate };
};

/** A BAR of memory that lies behind the mapping, in place of `guest`. */
export interface BarMemory {
  readonly gate: SharedArrayBuffer;
  /** Of the object with its bytes, which the scenario's libc models. */
  readonly fd: number;
}

const rangeOf = (peer: PeerMemory | BarMemory, start: number): PaRange =>
  'box' in peer ? registersAt(peer, start) : { kind: 'bar', start, size: PAGE, at: 0, ...peer };

const ranges = (
  { kernelRam, kernelRam1, guest, doorbells, decoy }: BoardMemory,
  peer?: PeerMemory | BarMemory,
): PaRange[] => [
  { kind: 'ram', start: DECOY_PA, size: decoy.byteLength, buffer: decoy },
  { kind: 'doorbell', start: DOORBELL_PA, size: PAGE, interrupts: doorbells },
  { kind: 'ram', start: KERNEL_PA, size: kernelRam.byteLength, buffer: kernelRam },
  { kind: 'ram', start: KERNEL1_PA, size: kernelRam1.byteLength, buffer: kernelRam1 },
  peer ? rangeOf(peer, GUEST_PA) : { kind: 'ram', start: GUEST_PA, size: guest.byteLength, buffer: guest },
];

const noWire = (): void => undefined;

const kernelRamBytes = (DRIVER_PAGES + 1) * PAGE;

/**
 * The board after the kernel has mapped VPN and attached the devices of `agents` agents to the
 * domain: behind one unit, or each behind its own.
 */
export function boardMemory(agents: 1 | 2, units: 1 | 2 = 1): BoardMemory {
  const memory: BoardMemory = {
    unit: createUnit({ agents: units === 2 ? 1 : agents }),
    kernelRam: new SharedArrayBuffer(kernelRamBytes),
    unit1: createUnit({ agents: units === 2 ? 1 : 0 }),
    kernelRam1: new SharedArrayBuffer(units === 2 ? kernelRamBytes : PAGE),
    guest: new SharedArrayBuffer(2 * PAGE),
    doorbells: createDoorbellTable(),
    counters0: createPortCounters(),
    counters1: createPortCounters(),
    decoy: new SharedArrayBuffer(PAGE),
    setup: new SharedArrayBuffer(64),
  };
  const physical = new PhysicalMemory(ranges(memory));
  const ops = new RiscvOps();
  const start = (unit: SharedArrayBuffer, pa: number): RiscvIommu =>
    new RiscvIommu({
      unit: new IommuUnit(unit, physical, noWire),
      physical,
      kernelRam: { start: pa, size: DRIVER_PAGES * PAGE },
      doorbell: { start: DOORBELL_PA, size: PAGE },
      ops,
    });
  const driver = start(memory.unit, KERNEL_PA);
  const domain = driver.allocDomain();
  domain.map(VPN, GUEST_PFN, 1, 3);
  driver.attach(DID, domain);
  if (agents === 2) (units === 2 ? start(memory.unit1, KERNEL1_PA) : driver).attach(DID + 1, domain);
  const words = new Int32Array(memory.kernelRam);
  const before = words.slice();
  domain.unmap(VPN, 1);
  // The entries of the tables on the way are cleared, too; those lie in pages that were allocated
  // before.
  const leaf = words.findLastIndex((word, i) => word !== before[i]);
  words.set(before);
  const msiTable = words.indexOf(msiEntryLo(DOORBELL_PFN));
  new Int32Array(memory.setup).set([leaf, words[leaf]!, words[leaf + 1]!, msiTable]);
  return memory;
}

const agentsOf = (unit: SharedArrayBuffer): number => new Int32Array(unit)[Unit.word.nrAgents]!;

/** How a port reaches another device. */
interface PeerAccess {
  readonly peer: PeerMemory | BarMemory;
  /** For registers. */
  readonly requester?: PeerRequester;
}

/** A device worker's port. */
export function port(memory: BoardMemory, agent: 0 | 1, access?: PeerAccess): DmaPort {
  const isAlone = agent === 1 && agentsOf(memory.unit1) === 1;
  return new DmaPort({
    unit: isAlone ? memory.unit1 : memory.unit,
    agent: isAlone ? 0 : agent,
    did: DID + agent,
    physical: new PhysicalMemory(ranges(memory, access?.peer), undefined, access?.requester),
    wire: noWire,
    counters: agent === 0 ? memory.counters0 : memory.counters1,
  });
}

/** The kernel's command queue of the first unit, and its words of kernel RAM. */
export function kernel(memory: BoardMemory): { commands: CommandQueue; words: Int32Array } {
  return commandQueue(memory, { unit: memory.unit, kernelRam: memory.kernelRam, pa: KERNEL_PA });
}

const SHAPE: Omit<DomainShape, 'msi'> = {
  ...{ levels: 3, apertureEndVpn: 2 ** 27, pgsizes: 0x1000n, coherent: false },
  ...{ doorbellPfn: DOORBELL_PFN, outsideAperture: 'EFAULT' },
};

/** Lets VPN's leaf lead to the doorbell page; see domainWithWindow. */
export function leadToDoorbell(memory: BoardMemory): void {
  const { at } = leafOf(memory);
  const flags = leafOf(memory).lo & 0x3ff;
  publishEntry(new Int32Array(memory.kernelRam), at, entryLo(DOORBELL_PFN, flags), entryHi(DOORBELL_PFN));
}

/**
 * Its domain with a donated window for MSIs, whose one page is VPN. The window and flush() are the
 * product's.
 */
export function domainWithWindow(memory: BoardMemory): RiscvDomain {
  const { commands } = kernel(memory);
  const table = {
    root: 0,
    hasUnlinked: false,
    removedLeaves: 0,
    map(): { done: number } {
      leadToDoorbell(memory);
      return { done: 1 };
    },
    unmap(): number {
      clearLeaf(memory);
      this.removedLeaves++;
      return 1;
    },
    reclaim: () => undefined,
  };
  const domain = new RiscvDomain(new RiscvOps(), { ...SHAPE, msi: 'donated' }, table as unknown as PageTable);
  domain.join(commands);
  domain.donatedWindow!.set(VPN, 1);
  return domain;
}

/** Its domain on both units of the board, as far as unmapping goes: flush() is the product's. */
export function domainOfTwoUnits(memory: BoardMemory): RiscvDomain {
  const first = kernel(memory);
  const second = commandQueue(memory, { unit: memory.unit1, kernelRam: memory.kernelRam1, pa: KERNEL1_PA });
  const table = {
    root: 0,
    hasUnlinked: false,
    removedLeaves: 0,
    unmap(): number {
      clearEntry(first.words, leafOf(memory).at);
      this.removedLeaves++;
      return 1;
    },
    reclaim: () => undefined,
  };
  const shape = { ...SHAPE, msi: 'flat' } as const;
  const domain = new RiscvDomain(new RiscvOps(), shape, table as unknown as PageTable);
  domain.join(first.commands);
  domain.join(second.commands);
  return domain;
}

function commandQueue(
  memory: BoardMemory,
  {
    unit,
    kernelRam,
    pa,
  }: { readonly unit: SharedArrayBuffer; readonly kernelRam: SharedArrayBuffer; readonly pa: number },
): { commands: CommandQueue; words: Int32Array } {
  const physical = new PhysicalMemory(ranges(memory));
  const words = new Int32Array(kernelRam);
  const ram = { words, allocate: () => pa / PAGE + QUEUE_PAGE, wordOf: () => (QUEUE_PAGE * PAGE) / 4 };
  return { words, commands: new CommandQueue(new IommuUnit(unit, physical, noWire), ram as unknown as KernelRam) };
}

/** VPN's leaf: index in kernel RAM, and the two halves that map it. */
export function leafOf({ setup }: BoardMemory): { readonly at: number; readonly lo: number; readonly hi: number } {
  const [at, lo, hi] = new Int32Array(setup);
  return { at: at!, lo: lo!, hi: hi! };
}

/** Index in kernel RAM of the MSI page table's first entry, which is MSI_VPN's. */
export const msiEntryOf = ({ setup }: BoardMemory): number => new Int32Array(setup)[3]!;

/** What an unmap of VPN does first. */
export function clearLeaf(memory: BoardMemory): void {
  clearEntry(new Int32Array(memory.kernelRam), leafOf(memory).at);
}

export function names(buffer: string, word: number): string | undefined {
  if (buffer === 'unit' || buffer === 'unit1') {
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
