/** The DMA side of the edu device as the vectors use it: a 4 KiB buffer at 0x40000 and one transfer at a time (QEMU, docs/specs/edu). */
import { splitIova } from '../../iommu/bus/dma.ts';
import type { DmaPort } from '../../iommu/hardware/port.ts';

const BUFFER = 0x40000n;
const DMA_MASK = 0xffff_ffffn;
const CMD_RUN = 1;
const CMD_TO_PCI = 2;

export class Edu {
  readonly did: number;
  busMaster = false;
  readonly #buffer = new Uint8Array(4096);

  constructor(bdf: string) {
    const [bus, slot, fn] = bdf
      .split(/[:.]/)
      .slice(1)
      .map((part) => Number.parseInt(part, 16));
    this.did = (bus! << 8) | (slot! << 3) | fn!;
  }

  /** One transfer. What a refused read should have brought is zeros; a refused write is lost. */
  dma(port: DmaPort, { src, dst, count, command }: { src: bigint; dst: bigint; count: number; command: number }): void {
    if ((command & CMD_RUN) === 0) return;
    const toPci = (command & CMD_TO_PCI) !== 0;
    const at = Number((toPci ? src : dst) - BUFFER);
    const { vpn, offset } = splitIova((toPci ? dst : src) & DMA_MASK);
    const bytes = this.#buffer.subarray(at, at + count);
    if (toPci) {
      if (this.busMaster) port.write(vpn, offset, bytes);
    } else {
      const done = this.busMaster ? port.read(vpn, offset, bytes) : 0;
      bytes.fill(0, done);
    }
    port.idle();
  }
}
