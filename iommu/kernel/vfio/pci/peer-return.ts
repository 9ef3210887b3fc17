/**
 * A device takes its BARs back from all containers that have mapped them for DMA (P2P-3, P2P-10).
 * A container whose lock is held by long work, or whose drivers have pinned pages, gives them back
 * later. Until then the gate keeps every device out, so nothing arrives after the close of the
 * device, or while it is disabled.
 */
import { BarGate } from '../../../bus/bar-gate.ts';
import type { DeviceMemory } from '../../mm/device-memory.ts';

export class PeerReturn {
  readonly #gate: BarGate;
  readonly #fence: () => void;
  #pending = 0;

  /** `fence` returns when all DMA that began before the call, of any device, has ended. */
  constructor(gate: SharedArrayBuffer, fence: () => void) {
    this.#gate = new BarGate(gate);
    this.#fence = fence;
  }

  /** When it returns no device reaches the memory by the mappings there are now. */
  takeBack(memories: Iterable<DeviceMemory>): void {
    for (const memory of memories) {
      for (const user of [...memory.users]) {
        const returning = user(memory);
        if (!returning) continue;
        if (this.#pending++ === 0) this.#gate.setReturning(true);
        const returned = (): void => {
          if (--this.#pending === 0) this.#gate.setReturning(false);
        };
        void returning.then(returned, returned);
      }
    }
    if (this.#pending > 0) this.#fence();
  }
}
