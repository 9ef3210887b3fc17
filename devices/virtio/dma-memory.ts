/** Memory as a virtio device reaches it through the DMA port of its function. */
import { PAGE_SIZE } from '../../platform/page.ts';
import type { Dma } from '../kit/dma.ts';
import type { VirtioMemory } from './queue.ts';

export interface DmaMemoryOptions {
  readonly isMaster?: () => boolean;
  readonly pause?: () => void;
}

export class DmaMemory implements VirtioMemory {
  readonly #port: Dma;
  readonly #isMaster: () => boolean;
  readonly #pause: () => void;
  /** Transactions made and bytes moved so far. */
  transactions = 0;
  bytes = 0;

  /**
   * `isMaster`: whether the function may make accesses (COMMAND.Bus Master Enable); absent: the
   * port asks that itself. `pause` is called whenever no access is under way.
   */
  constructor(port: Dma, { isMaster = () => true, pause = () => {} }: DmaMemoryOptions = {}) {
    this.#port = port;
    this.#pause = pause;
    this.#isMaster = isMaster;
  }

  read(at: number, into: Uint8Array): boolean {
    if (!this.#isMaster()) return false;
    return this.#moved(this.#port.read(Math.floor(at / PAGE_SIZE), at % PAGE_SIZE, into), into.length);
  }

  write(at: number, bytes: Uint8Array): boolean {
    if (!this.#isMaster()) return false;
    return this.#moved(this.#port.write(Math.floor(at / PAGE_SIZE), at % PAGE_SIZE, bytes), bytes.length);
  }

  #moved(count: number, length: number): boolean {
    this.transactions++;
    this.bytes += count;
    return count === length;
  }

  idle(): void {
    this.#port.idle();
    this.#pause();
  }
}
