/**
 * Memory of devices: the memory behind clients' mappings of BARs (VM_PFNMAP on Linux). Mappings of
 * BARs are told from others by the function's object, and from each other by their place in it
 * (ACC-4).
 */
import { PAGE_SIZE } from '../../../platform/page.ts';
import { fdObjectKey, vmaObjectKey } from '../../../platform/process.ts';
import type { Vma } from '../../../platform/vma.ts';

/**
 * Somebody who has pinned device memory, and is told when its device takes it back. Returns a
 * promise when it takes time.
 */
export type DeviceMemoryUser = (memory: DeviceMemory) => void | Promise<void>;

export interface DeviceMemory {
  /** The place of the BAR in its function's object, in bytes. */
  readonly objectOffset: number;
  /** The place of the BAR on the bus. */
  readonly startPfn: number;
  readonly nrPages: number;
  /** Whether the device would answer an access now. */
  answers(): boolean;
  /** Those who are told. Whoever has pinned pages of it puts itself here. */
  readonly users: Set<DeviceMemoryUser>;
}

export class DeviceMemoryTable {
  readonly #byObject = new Map<string, readonly DeviceMemory[]>();

  /** `fd` is of the object that mappings of the BAR show. */
  add(fd: number, memory: DeviceMemory): void {
    const key = fdObjectKey(fd);
    this.#byObject.set(key, [...(this.#byObject.get(key) ?? []), memory]);
  }

  /** Removes all that lies in an object. */
  remove(fd: number): void {
    this.#byObject.delete(fdObjectKey(fd));
  }

  find(vma: Vma): DeviceMemory | undefined {
    const memories = vma.shared ? this.#byObject.get(vmaObjectKey(vma)) : undefined;
    return memories?.find(({ objectOffset, nrPages }) => {
      const at = vma.offset - objectOffset;
      return at >= 0 && at < nrPages * PAGE_SIZE;
    });
  }
}
