/** Memory as a virtio device reaches it through the DMA port of its function. */
import { PAGE_SIZE } from '../../platform/page.ts';
import type { Dma } from '../kit/dma.ts';
import type { VirtioMemory } from './queue.ts';

export class DmaMemory implements VirtioMemory {
  readonly #port: Dma;
  readonly #isMaster: () => boolean;
  /** Transactions made and bytes moved so far. */
  transactions = 0;
  bytes = 0;

  /**
   * `isMaster`: whether the function may make accesses (COMMAND.Bus Master Enable); absent: the
   * port asks that itself.
   */
  constructor(port: Dma, isMaster: () => boolean = () => true) {
    this.#port = port;
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
  }
}
