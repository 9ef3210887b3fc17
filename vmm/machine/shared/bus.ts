/**
 * The physical address space of the guest beside its RAM. An access that a device does not take
 * whole is split into naturally aligned pieces, as QEMU's memory API does (docs/devel/memory.rst,
 * "valid" and "impl"). Accesses to unmapped addresses are access faults.
 */

import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { MapEntry } from './memory-map.ts';

/**
 * A device's registers. `offset` counts from the region's base; whole accesses are aligned to their
 * size. `by` is the hart that stores.
 */
export interface MmioDevice {
  /** The largest access that the device takes. */
  readonly maxAccess: AccessSize;
  /** undefined refuses the access: the guest gets an access fault. */
  load(offset: number, size: AccessSize): bigint | undefined;
  /** false refuses the access. */
  store(offset: number, size: AccessSize, value: bigint, by: number): boolean;
}

interface MappedDevice extends MapEntry {
  readonly device: MmioDevice;
}

export class SystemBus {
  readonly #devices: MappedDevice[] = [];

  map({ base, size }: MapEntry, device: MmioDevice): void {
    this.#devices.push({ base, size, device });
  }

  /** Whether a device is there for the whole access. */
  covers(gpa: number, size: AccessSize): boolean {
    return this.#find(gpa, size) !== undefined;
  }

  load(gpa: number, size: AccessSize): bigint | undefined {
    const target = this.#find(gpa, size);
    if (!target) return undefined;
    const offset = gpa - target.base;
    if (size <= target.device.maxAccess && offset % size === 0) return target.device.load(offset, size);
    let value = 0n;
    for (let done = 0; done < size; ) {
      const piece = pieceAt(offset + done, size - done, target.device.maxAccess);
      const part = target.device.load(offset + done, piece);
      if (part === undefined) return undefined;
      value |= part << BigInt(8 * done);
      done += piece;
    }
    return value;
  }

  store(gpa: number, size: AccessSize, value: bigint, by: number): boolean {
    const target = this.#find(gpa, size);
    if (!target) return false;
    const offset = gpa - target.base;
    if (size <= target.device.maxAccess && offset % size === 0) return target.device.store(offset, size, value, by);
    for (let done = 0; done < size; ) {
      const piece = pieceAt(offset + done, size - done, target.device.maxAccess);
      const part = BigInt.asUintN(8 * piece, value >> BigInt(8 * done));
      if (!target.device.store(offset + done, piece, part, by)) return false;
      done += piece;
    }
    return true;
  }

  #find(gpa: number, size: number): MappedDevice | undefined {
    return this.#devices.find(({ base, size: length }) => gpa >= base && gpa + size <= base + length);
  }
}

/** The largest naturally aligned access at `offset` of at most `left` bytes. */
function pieceAt(offset: number, left: number, maxAccess: AccessSize): AccessSize {
  let piece = maxAccess;
  while (piece > left || offset % piece !== 0) piece = (piece / 2) as AccessSize;
  return piece;
}
