/**
 * The DMA port of a function behind COMMAND.Bus Master Enable: with the bit clear it may not issue
 * transactions (PCI 3.0 §6.2.2).
 */
import { PCI_COMMAND_MASTER } from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';
import type { Dma } from './dma.ts';

export class BusMaster implements Dma {
  readonly #config: ConfigSpace;
  readonly #port: Dma;
  #retired = false;

  constructor(config: ConfigSpace, port: Dma) {
    this.#config = config;
    this.#port = port;
  }

  enabled(): boolean {
    return !this.#retired && this.#config.command(PCI_COMMAND_MASTER);
  }

  /** The device behind this port has been reset: what it still does reaches nobody. */
  retire(): void {
    this.#retired = true;
  }

  read(vpn: number, offset: number, dst: Uint8Array): number {
    return this.enabled() ? this.#port.read(vpn, offset, dst) : 0;
  }

  write(vpn: number, offset: number, src: Uint8Array): number {
    return this.enabled() ? this.#port.write(vpn, offset, src) : 0;
  }

  write32(vpn: number, offset: number, value: number): boolean {
    return this.enabled() && this.#port.write32(vpn, offset, value);
  }

  idle(): void {
    this.#port.idle();
  }
}
