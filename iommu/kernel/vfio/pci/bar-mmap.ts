/**
 * mmap(2) of a device fd (vfio_pci_core_mmap; PCI-7, PCI-1). The client maps the function's object
 * at the BAR's place (iommu/abi/device-object.ts). That place has the bytes of a RAM BAR. It has
 * none of a register BAR, nor of memory that other functions have, too. DEVIATION: there is no
 * hardware under a mapping without bytes, so a load or store of the CPU is a SIGBUS. The client
 * library then makes the access by a read or write of the mapping's file. Each of these is one
 * access of the device.
 */
import { einval, eio, enotty } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import { PAGE_SIZE, pagesFor, wholePages } from '../../../../platform/page.ts';
import { placeInObject } from '../../../abi/device-object.ts';
import { VFIO_PCI_ROM_REGION_INDEX } from '../../../abi/vfio.ts';
import type { FileOperations, MappedFile, MmapRequest } from '../../core/open-file.ts';
import type { DeviceMemory, DeviceMemoryTable } from '../../mm/device-memory.ts';
import type { BarIo } from './bar-io.ts';
import { isMappable } from './info.ts';
import type { RamBars } from './ram-bars.ts';
import type { Bar, PciResources } from './resources.ts';

export interface BarMmapOptions {
  /** The device's name, used in the names of mappings. */
  readonly deviceName: string;
  /** The fd of the function's object. */
  readonly object: number;
  readonly resources: PciResources;
  readonly ramBars: RamBars;
  readonly deviceMemory: DeviceMemoryTable;
  readonly memoryEnabled: () => boolean;
  readonly barIo: BarIo;
}

export class BarMmap {
  readonly #options: BarMmapOptions;
  /** The BARs that have been mapped, by their index. */
  readonly #memories = new Map<number, DeviceMemory>();

  constructor(options: BarMmapOptions) {
    this.#options = options;
  }

  /**
   * `release` is called when the mapping is gone; until then the mapping holds the device's file
   * (CORE-9).
   */
  mmap(index: number, { offset, length, shared }: MmapRequest, release: () => void): MappedFile {
    const { resources, ramBars } = this.#options;
    if (!shared) throw einval('a BAR cannot be mapped MAP_PRIVATE');
    if (index >= VFIO_PCI_ROM_REGION_INDEX) throw einval(`region ${index} cannot be mapped`);
    const bar = resources.bars[index];
    if (!bar || !isMappable(bar)) throw einval(`region ${index} cannot be mapped`);
    if (offset + length > wholePages(bar.size)) throw einval(`mapping outside of BAR ${index}`);
    const registers = !ramBars.isInObject(index);
    const { objectOffset } = this.#memoryOf(bar);
    const operations = new BarMapping(this.#options, { bar, release });
    return { operations, objectOffset: objectOffset + offset, registers };
  }

  #memoryOf(bar: Bar): DeviceMemory {
    const known = this.#memories.get(bar.index);
    if (known) return known;
    const { object, deviceMemory, memoryEnabled, ramBars } = this.#options;
    const memory: DeviceMemory = {
      objectOffset: placeInObject(bar.index, ramBars.isInObject(bar.index)),
      startPfn: bar.start / PAGE_SIZE,
      nrPages: pagesFor(bar.size),
      answers: memoryEnabled,
      users: new Set(),
    };
    deviceMemory.add(object, memory);
    this.#memories.set(bar.index, memory);
    return memory;
  }

  /** The BARs that have been mapped, as containers may have pinned them. */
  get memories(): readonly DeviceMemory[] {
    return [...this.#memories.values()];
  }

  /** Called when the last file of the device is closed. No mapping is left then. */
  close(): void {
    if (this.#memories.size > 0) this.#options.deviceMemory.remove(this.#options.object);
    this.#memories.clear();
  }
}

interface MappingParts {
  readonly bar: Bar;
  readonly release: () => void;
}

/**
 * The file that stands for one mapping. The device's file stays open as long as this one. The bytes
 * of this file are those of the whole BAR.
 */
class BarMapping implements FileOperations {
  readonly name: string;
  readonly #options: BarMmapOptions;
  readonly #bar: Bar;
  readonly passesFd: number;
  readonly #release: () => void;

  constructor(options: BarMmapOptions, { bar, release }: MappingParts) {
    this.passesFd = options.object;
    this.name = `anon:vfio-bar ${options.deviceName} ${bar.index}`;
    this.#options = options;
    this.#bar = bar;
    this.#release = release;
  }

  ioctl(nr: number): number {
    throw enotty(`ioctl ${hex(nr)} on a mapping`);
  }

  /**
   * A load of the CPU. EIO is a bus error. Bytes behind the BAR's end, in its last page, read as
   * ones.
   */
  pread(offset: bigint, length: number): Uint8Array {
    const data = new Uint8Array(length).fill(0xff);
    const part = this.#inside(offset, length);
    if (part) data.set(this.#options.barIo.load(this.#bar, part.at, part.length));
    return data;
  }

  /** A store of the CPU. */
  pwrite(offset: bigint, data: Uint8Array): number {
    const part = this.#inside(offset, data.length);
    if (part) this.#options.barIo.store(this.#bar, part.at, data.subarray(0, part.length));
    return data.length;
  }

  #inside(offset: bigint, length: number): { readonly at: number; readonly length: number } | undefined {
    if (!this.#options.memoryEnabled()) throw eio('memory decoding is off');
    const { size } = this.#bar;
    return offset < BigInt(size) ? { at: Number(offset), length: Math.min(length, size - Number(offset)) } : undefined;
  }

  release(): void {
    this.#release();
  }
}
