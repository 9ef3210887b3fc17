/**
 * A board in one process for the tests: kernel RAM with directory, queues and tables, device RAM, a
 * unit, a port.
 */
import { createPortCounters, type PortCounts, readPortCounters } from '../../../iommu/bus/counters.ts';
import { createDoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import type { PaRange } from '../../../iommu/bus/range.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import {
  entryHi,
  entryLo,
  PTE_A,
  PTE_D,
  PTE_R,
  PTE_U,
  PTE_V,
  PTE_W,
  publishEntry,
} from '../../../iommu/hardware/pte.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { IommuUnit } from '../../../iommu/hardware/unit.ts';
import { createUnit, type UnitOptions } from '../../../iommu/hardware/unit-memory.ts';

export const DID = 0x08;
/** U|R|W|A|D|V: what a driver writes for memory that a device may read and write. */
export const LEAF = PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D;

const KERNEL_RAM = 32 << 20;
const KERNEL_START = 0x1000_0000;
/** First pfn of device memory: 1 GiB aligned, above 4 GiB. */
export const RAM_PFN = (8 * 2 ** 30) / 4096;
export const RAM_PAGES = 1024;
export const DOORBELL_PFN = 0xfee00;

const QUEUE_ENTRIES = 64;

export interface DecodedFault {
  readonly cause: number;
  readonly ttyp: number;
  readonly did: number;
  readonly iotval: bigint;
  readonly iotval2: bigint;
}

export interface ContextFields {
  readonly tc?: bigint;
  readonly iohgatp?: bigint;
  readonly ta?: bigint;
  readonly fsc?: bigint;
  readonly msiptp?: bigint;
  readonly msiMask?: bigint;
  readonly msiPattern?: bigint;
}

/** iohgatp or iosatp of a scheme. */
export const atp = (mode: 8 | 9, pfn: number, gscid = 0): bigint =>
  (BigInt(mode) << 60n) | (BigInt(gscid) << 44n) | BigInt(pfn);

export class Machine {
  readonly kernel = new SharedArrayBuffer(KERNEL_RAM);
  readonly ram = new SharedArrayBuffer(RAM_PAGES * 4096);
  readonly interrupts = createDoorbellTable();
  readonly unitMemory: SharedArrayBuffer;
  readonly physical: PhysicalMemory;
  readonly unit: IommuUnit;
  readonly wires: string[] = [];
  readonly ranges: PaRange[];
  readonly view = new DataView(this.kernel);
  readonly words = new Int32Array(this.kernel);
  readonly queuePfn: number;
  readonly faultPfn: number;
  readonly #extended: boolean;
  readonly #entryBytes: bigint;
  #directory = 0;
  #nextPfn = KERNEL_START / 4096;

  constructor(options: Partial<UnitOptions> = {}) {
    this.unitMemory = createUnit({ agents: 8, ...options });
    this.ranges = [
      { kind: 'ram', start: KERNEL_START, size: KERNEL_RAM, buffer: this.kernel },
      { kind: 'ram', start: RAM_PFN * 4096, size: RAM_PAGES * 4096, buffer: this.ram },
      { kind: 'doorbell', start: DOORBELL_PFN * 4096, size: 4096, interrupts: this.interrupts },
    ];
    this.physical = new PhysicalMemory(this.ranges);
    this.unit = new IommuUnit(this.unitMemory, this.physical, (cause) => this.wires.push(cause));
    this.#extended = options.msiFlat !== false;
    this.#entryBytes = this.#extended ? 64n : 32n;
    this.queuePfn = this.page();
    this.faultPfn = this.page();
    this.unit.write32(REG.fctl, 2); // wires
    this.unit.writeRegister(REG.cqb, 8, (BigInt(this.queuePfn) << 10n) | 5n);
    this.unit.write32(REG.cqcsr, 3);
    this.setFaultQueue(QUEUE_ENTRIES);
  }

  /** A fresh zeroed page of kernel RAM; `align` in pages. */
  page(align = 1): number {
    this.#nextPfn = Math.ceil(this.#nextPfn / align) * align;
    const pfn = this.#nextPfn;
    this.#nextPfn += align;
    return pfn;
  }

  /** A page of device RAM, counted from its start. */
  bytesOf(page: number): Uint8Array {
    return new Uint8Array(this.ram, page * 4096, 4096);
  }

  setFaultQueue(entries: number): void {
    this.unit.write32(REG.fqcsr, 0);
    this.unit.writeRegister(REG.fqb, 8, (BigInt(this.faultPfn) << 10n) | BigInt(Math.log2(entries) - 1));
    this.unit.write32(REG.fqh, 0);
    this.unit.write32(REG.fqcsr, 3);
  }

  /** Byte offset in kernel RAM of a pa in it. */
  at(pfn: number): number {
    return pfn * 4096 - KERNEL_START;
  }

  setEntry(pfn: number, index: number, target: number, flags: number): void {
    publishEntry(this.words, this.at(pfn) / 4 + index * 2, entryLo(target, flags), entryHi(target));
  }

  /** Turns the directory on with `levels`. */
  enable(levels: 1 | 2 | 3 = 1): void {
    this.#directory = this.page();
    this.unit.writeRegister(REG.ddtp, 8, (BigInt(this.#directory) << 10n) | BigInt(levels + 1));
  }

  /** Writes a device context; for a directory of several levels it makes those in between. */
  setContext(fields: ContextFields, did = DID, levels: 1 | 2 | 3 = 1): void {
    const leafBits = this.#extended ? 6 : 7;
    let table = this.#directory;
    for (let level = levels - 1; level > 0; level--) {
      const index = (did >>> (leafBits + 9 * (level - 1))) & 511;
      const at = this.at(table) + index * 8;
      if ((this.view.getUint32(at, true) & 1) === 0) this.setEntry(table, index, this.page(), PTE_V);
      table = Number((this.view.getBigUint64(at, true) >> 10n) & 0xfffffffffffn);
    }
    const index = BigInt(did & ((1 << leafBits) - 1));
    const at = this.at(table) + Number(index * this.#entryBytes);
    const { tc = 1n, iohgatp = 0n, ta = 0n, fsc = 0n, msiptp = 0n, msiMask = 0n, msiPattern = 0n } = fields;
    const all = [tc, iohgatp, ta, fsc, msiptp, msiMask, msiPattern];
    all.slice(0, this.#extended ? 7 : 4).forEach((value, i) => {
      this.view.setBigUint64(at + 8 * i, value, true);
    });
  }

  /** Maps `page` in the tables under `root`: a leaf of 512^level pages. */
  map(root: number, page: number, target: number, options: MapOptions): void {
    const { levels, x4 = false, level = 0, flags = LEAF } = options;
    let table = root;
    for (let l = levels - 1; l > level; l--) {
      const index = tableIndex(page, l, x4 && l === levels - 1);
      const at = this.at(table) + index * 8;
      if ((this.view.getUint32(at, true) & 1) === 0) this.setEntry(table, index, this.page(), PTE_V);
      table = Number((this.view.getBigUint64(at, true) >> 10n) & 0xfffffffffffn);
    }
    this.setEntry(table, tableIndex(page, level, x4 && level === levels - 1), target, flags);
  }

  /** Queues commands (pairs of doublewords) and rings. */
  command(...commands: readonly (readonly [bigint, bigint])[]): void {
    for (const [first, second] of commands) {
      const tail = this.unit.read32(REG.cqt);
      this.view.setBigUint64(this.at(this.queuePfn) + tail * 16, first, true);
      this.view.setBigUint64(this.at(this.queuePfn) + tail * 16 + 8, second, true);
      this.unit.write32(REG.cqt, (tail + 1) % QUEUE_ENTRIES);
    }
  }

  port(agent = 0, did = DID): TestPort {
    return new TestPort(this, agent, did);
  }

  /** Takes all records out of the fault queue. */
  faults(): DecodedFault[] {
    const found: DecodedFault[] = [];
    const entries = 2 ** ((this.unit.read32(REG.fqb) & 31) + 1);
    let head = this.unit.read32(REG.fqh);
    for (; head !== this.unit.read32(REG.fqt); head = (head + 1) % entries) {
      const at = this.at(this.faultPfn) + head * 32;
      const first = this.view.getBigUint64(at, true);
      found.push({
        cause: Number(first & 0xfffn),
        ttyp: Number((first >> 34n) & 0x3fn),
        did: Number(first >> 40n),
        iotval: this.view.getBigUint64(at + 16, true),
        iotval2: this.view.getBigUint64(at + 24, true),
      });
    }
    this.unit.write32(REG.fqh, head);
    return found;
  }
}

export interface MapOptions {
  readonly levels: number;
  /** The root has 2048 entries. */
  readonly x4?: boolean;
  readonly level?: number;
  readonly flags?: number;
}

const tableIndex = (page: number, level: number, wide: boolean): number =>
  Math.floor(page / 512 ** level) % (wide ? 2048 : 512);

/**
 * A port whose every access is a whole transaction: it is idle afterwards, as the thread that runs
 * fences needs.
 */
export class TestPort {
  readonly dma: DmaPort;
  readonly counters = createPortCounters();

  constructor(machine: Machine, agent: number, did: number) {
    this.dma = new DmaPort({
      unit: machine.unitMemory,
      agent,
      did,
      physical: machine.physical,
      wire: (cause) => machine.wires.push(cause),
      counters: this.counters,
    });
  }

  counts(): PortCounts {
    return readPortCounters(this.counters);
  }

  read(vpn: number, offset: number, length: number): { done: number; bytes: Uint8Array } {
    const bytes = new Uint8Array(length);
    const done = this.dma.read(vpn, offset, bytes);
    this.dma.idle();
    return { done, bytes };
  }

  write(vpn: number, offset: number, bytes: Uint8Array): number {
    const done = this.dma.write(vpn, offset, bytes);
    this.dma.idle();
    return done;
  }

  write32(vpn: number, offset: number, value: number): boolean {
    const done = this.dma.write32(vpn, offset, value);
    this.dma.idle();
    return done;
  }
}

export const IOFENCE: readonly [bigint, bigint] = [2n | (1n << 12n) | (1n << 13n), 0n];
export const IODIR_ALL: readonly [bigint, bigint] = [3n, 0n];
export const GVMA_ALL: readonly [bigint, bigint] = [0x81n, 0n];
export const VMA_ALL: readonly [bigint, bigint] = [1n, 0n];
