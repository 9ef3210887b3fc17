/** A virtio function of the board with what is behind it, and memory for its driver. */
import type { DeviceType } from '../../../devices/kit/device.ts';
import { type PropertyTable, parseProperties } from '../../../devices/kit/properties.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Bench } from '../bench.ts';
import { MEMORY_BASE, PlainMemory } from './driver.ts';
import { registersOf, type VirtioRegisters } from './pci-driver.ts';

export interface Behind {
  readonly properties?: Readonly<Record<string, string>>;
  /** The option of its backend. */
  readonly backend?: string;
  /** An epoll instance. */
  readonly news?: number;
}

export class Plugged {
  readonly bench: Bench;
  readonly memory: PlainMemory;
  readonly registers: VirtioRegisters;
  /** What the device's type has opened. */
  readonly fds: readonly number[];

  constructor(type: DeviceType, memoryBytes: number, { properties = {}, backend, news }: Behind = {}) {
    const values = parseProperties<PropertyTable>(type.name, type.properties, properties);
    this.fds = type.open?.(values, backend ?? '').fds ?? [];
    this.bench = new Bench(type, properties, { fds: this.fds, backend, news });
    this.memory = new PlainMemory(memoryBytes);
    this.bench.memory.backWith(MEMORY_BASE, this.memory.bytes);
    this.registers = registersOf(this.bench.endpoint);
  }

  /** Power-off. */
  unplug(): void {
    this.bench.endpoint.end();
    for (const fd of this.fds) close(fd);
  }
}
