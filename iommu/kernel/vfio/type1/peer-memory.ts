/** The device memory of which a container has mapped pages, so that it hears of its end (P2P-4). */
import type { DeviceMemory, DeviceMemoryUser } from '../../mm/device-memory.ts';
import type { DmaEntry } from './dma-entry.ts';

export class PeerMemory {
  readonly #memories = new Set<DeviceMemory>();
  /** Set when the container is made. */
  goes: DeviceMemoryUser = () => undefined;
  readonly #user: DeviceMemoryUser = (memory) => this.goes(memory);

  /** Called for each run that is pinned, with the run's device if it has one. */
  add(entry: DmaEntry, memory: DeviceMemory | undefined): void {
    if (!memory) return;
    entry.devices ??= new Set();
    entry.devices.add(memory);
    this.#memories.add(memory);
    memory.users.add(this.#user);
  }

  /** Whether the container has never mapped any. */
  get isEmpty(): boolean {
    return this.#memories.size === 0;
  }

  /** The container has let everything go. */
  clear(): void {
    for (const memory of this.#memories) memory.users.delete(this.#user);
    this.#memories.clear();
  }
}
