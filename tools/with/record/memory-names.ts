/**
 * The names of a program's memory in its recording. Memory gets a name when it is mapped for DMA
 * for the first time.
 */
import { offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import { VFIO_PCI_OFFSET_SHIFT } from '../../../iommu/abi/vfio.ts';
import { hex } from '../../../platform/hex.ts';
import { vmaObjectKey } from '../../../platform/process.ts';
import type { Vma } from '../../../platform/vma.ts';
import type { Write } from './fd-names.ts';

export interface MemorySource {
  /** The mapping at a vaddr of the program. */
  vmaAt(vaddr: number): Vma | undefined;
  /** The name of a device fd for the object behind a mapping. */
  deviceFd(vma: Vma): string | undefined;
}

/** A mapping, and what it is called in the present image. */
interface Named {
  readonly name: string;
  /** Place of the mapping's start in the memory of that name. */
  readonly offset: number;
  readonly start: number;
  readonly end: number;
  readonly object: string;
}

const objectOf = (vma: Vma): string => (vma.shared && vma.inode !== 0 ? vmaObjectKey(vma) : '');
const protOf = ({ readable, writable }: Vma): string => `${readable ? 'r' : ''}${writable ? 'w' : ''}` || 'n';
const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;

export class MemoryNames {
  readonly #source: MemorySource;
  readonly #write: Write;
  #named: readonly Named[] = [];
  /** The objects that have a name, with the name and the size that it was given. */
  readonly #objects = new Map<string, { readonly name: string; readonly size: number }>();
  #count = 0;

  constructor(source: MemorySource, write: Write) {
    this.#source = source;
    this.#write = write;
  }

  /** Those of a process that has the same memory: a fork of this one. */
  copyFor(source: MemorySource, write: Write): MemoryNames {
    const copy = new MemoryNames(source, write);
    copy.#named = this.#named;
    for (const [object, named] of this.#objects) copy.#objects.set(object, named);
    copy.#count = this.#count;
    return copy;
  }

  /** The program has become another image: objects keep their names, and addresses do not. */
  execs(): void {
    this.#named = [];
  }

  /** The word for [vaddr, vaddr + length): `$m1+0x1000`. Where nothing is mapped it is a hole. */
  word(vaddr: number, length: number): string {
    const vma = this.#source.vmaAt(vaddr);
    const named = vma ? (this.#find(vma) ?? this.#name(vma, vaddr + length)) : this.#hole(vaddr, length);
    const at = vaddr - named.start + named.offset;
    return `$${named.name}${at === 0 ? '' : `+${hex(at)}`}`;
  }

  #find(vma: Vma): Named | undefined {
    const object = objectOf(vma);
    return this.#named.find((one) => one.object === object && vma.start >= one.start && vma.end <= one.end);
  }

  #name(vma: Vma, end: number): Named {
    const object = objectOf(vma);
    if (object === '') return this.#private(vma, end);
    const offset = Number(offsetOfPlace(BigInt(vma.offset)));
    if (offset !== vma.offset) return this.#bar(vma, offset);
    const size = vma.offset + vma.end - vma.start;
    const known = this.#objects.get(object);
    const name = this.#fresh();
    if (known && known.size >= size) this.#write(`remap ${known.name} ${name}`, '0');
    else {
      this.#write(`mem ${name} memfd ${hex(size)} ${protOf(vma)}`, '0');
      this.#objects.set(object, { name, size });
    }
    return this.#add(name, vma, vma.end, vma.offset);
  }

  /** Private memory, with what lies behind it without a gap. */
  #private(vma: Vma, end: number): Named {
    let last = vma;
    while (last.end < end) {
      const next = this.#source.vmaAt(last.end);
      if (!next || objectOf(next) !== '' || protOf(next) !== protOf(vma)) break;
      last = next;
    }
    const name = this.#fresh();
    this.#write(`mem ${name} anon ${hex(last.end - vma.start)} ${protOf(vma)}`, '0');
    return this.#add(name, vma, last.end, 0);
  }

  /** `offset` is the one that VFIO knows. */
  #bar(vma: Vma, offset: number): Named {
    const fd = this.#source.deviceFd(vma) ?? '-1';
    const name = this.#fresh();
    const region = `${Math.floor(offset / REGION_BYTES)}:${hex(offset % REGION_BYTES)}`;
    this.#write(`bar ${name} ${fd} ${region} ${hex(vma.end - vma.start)} ${protOf(vma)}`, '0');
    return this.#add(name, vma, vma.end, 0);
  }

  #hole(vaddr: number, length: number): Named {
    const name = this.#fresh();
    this.#write(`mem ${name} hole ${hex(length)}`, '0');
    return { name, offset: 0, start: vaddr, end: vaddr + length, object: '' };
  }

  #fresh(): string {
    return `m${++this.#count}`;
  }

  #add(name: string, vma: Vma, end: number, offset: number): Named {
    const named = { name, offset, start: vma.start, end, object: objectOf(vma) };
    this.#named = [...this.#named.filter((one) => one.end <= named.start || one.start >= named.end), named];
    return named;
  }
}
