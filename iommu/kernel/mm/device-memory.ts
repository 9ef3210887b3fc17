/**
 * Memory of devices: the memory behind clients' mappings of BARs (VM_PFNMAP on Linux). Each
 * mappable BAR has an object, by which its mappings are told from others (ACC-4).
 */
import { fdObjectKey, vmaObjectKey } from '../../../platform/process.ts';
import type { Vma } from '../../../platform/vma.ts';

/**
 * Somebody who has pinned device memory, and is told when its device takes it back. Returns a
 * promise when it takes time.
 */
export type DeviceMemoryUser = (memory: DeviceMemory) => void | Promise<void>;

export interface DeviceMemory {
  /** The place of the BAR on the bus. */
  readonly startPfn: number;
  readonly nrPages: number;
  /** Whether the device would answer an access now. */
  answers(): boolean;
  /** Those who are told. Whoever has pinned pages of it puts itself here. */
  readonly users: Set<DeviceMemoryUser>;
}

export class DeviceMemoryTable {
  readonly #byObject = new Map<string, DeviceMemory>();

  /** `fd` is of the object that mappings of the BAR show. */
  add(fd: number, memory: DeviceMemory): void {
    this.#byObject.set(fdObjectKey(fd), memory);
  }

  remove(fd: number): void {
    this.#byObject.delete(fdObjectKey(fd));
  }

  find(vma: Vma): DeviceMemory | undefined {
    return vma.shared ? this.#byObject.get(vmaObjectKey(vma)) : undefined;
  }
}
