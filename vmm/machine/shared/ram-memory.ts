/** Guest RAM as devices in the VMM reach it that no IOMMU is in front of. */
import type { VirtioMemory } from '../../../devices/virtio/queue.ts';
import { type SharedPart, uint8s } from '../../../platform/shared.ts';
import { RAM_BASE } from './memory-map.ts';

export class RamMemory implements VirtioMemory {
  readonly #ram: Uint8Array;

  constructor(ram: SharedPart) {
    this.#ram = uint8s(ram);
  }

  read(at: number, into: Uint8Array): boolean {
    const from = at - RAM_BASE;
    if (from < 0 || from + into.length > this.#ram.length) return false;
    into.set(this.#ram.subarray(from, from + into.length));
    return true;
  }

  write(at: number, bytes: Uint8Array): boolean {
    const to = at - RAM_BASE;
    if (to < 0 || to + bytes.length > this.#ram.length) return false;
    this.#ram.set(bytes, to);
    return true;
  }

  idle(): void {} // no IOMMU waits for the end of an access
}
