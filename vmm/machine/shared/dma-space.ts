/**
 * The physical address space as functions inside the VMM reach it by DMA: RAM, and the pages of
 * the interrupt files, where their messages go. Only the thread that owns the shared devices has
 * one. NOT MODELLED: DMA to BARs.
 */
import type { Dma } from '../../../iommu/bus/dma.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { ByteTarget } from '../../../iommu/bus/targets/target.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { SharedPart } from '../../../platform/shared.ts';
import { OWNER_HART } from '../control/control-block.ts';
import type { SystemBus } from './bus.ts';
import { type MapEntry, RAM_BASE } from './memory-map.ts';

/** `ram` begins where its buffer does. `messages`: pages that the bus answers for. */
export function dmaSpace(ram: SharedPart, bus: SystemBus, messages: readonly MapEntry[]): PhysicalMemory {
  if (ram.offset !== 0) throw new RangeError('guest RAM does not begin where its buffer does');
  return new PhysicalMemory([
    { kind: 'ram', start: RAM_BASE, size: ram.size, buffer: ram.buffer },
    ...messages.map(({ base, size }) => {
      return { kind: 'local', start: base, size, target: new MessagePages(bus, base) } as const;
    }),
  ]);
}

/** The DMA port of a function that no IOMMU is in front of. */
export class DirectPort implements Dma {
  readonly #physical: PhysicalMemory;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
  }

  /** All or nothing, as `write`. */
  read(vpn: number, offset: number, dst: Uint8Array): number {
    return this.#physical.read(vpn * PAGE_SIZE + offset, dst) ? dst.length : 0;
  }

  write(vpn: number, offset: number, src: Uint8Array): number {
    return this.#physical.write(vpn * PAGE_SIZE + offset, src) ? src.length : 0;
  }

  write32(vpn: number, offset: number, value: number): boolean {
    return this.#physical.write32(vpn * PAGE_SIZE + offset, value);
  }

  idle(): void {} // nothing is cached that a fence could want back
}

/** They take accesses of 32 bits, as messages are. */
class MessagePages extends ByteTarget {
  readonly #bus: SystemBus;
  readonly #base: number;

  constructor(bus: SystemBus, base: number) {
    super();
    this.#bus = bus;
    this.#base = base;
  }

  read(at: number, dst: Uint8Array): boolean {
    if (dst.length !== 4) return false;
    const value = this.#bus.load(this.#base + at, 4);
    if (value === undefined) return false;
    new DataView(dst.buffer, dst.byteOffset).setUint32(0, Number(value), true);
    return true;
  }

  write(at: number, src: Uint8Array): boolean {
    if (src.length !== 4) return false;
    const value = new DataView(src.buffer, src.byteOffset).getUint32(0, true);
    return this.#bus.store(this.#base + at, 4, BigInt(value), OWNER_HART);
  }
}
