/**
 * What a device sees of the bus. Addresses are split: vpn = iova / 4096 (an exact number below
 * 2^52) and a byte offset in that page (below 4096); a transfer may cross pages. devices/kit
 * re-exports this.
 */

export interface Dma {
  /** Reads dst.length bytes; how many came before a refusal (= dst.length when all is right). */
  read(vpn: number, offset: number, dst: Uint8Array): number;
  /** Writes src.length bytes; how many went before a refusal. */
  write(vpn: number, offset: number, src: Uint8Array): number;
  /**
   * Aligned, single-copy atomic 32-bit store, ordered after all earlier writes: an MSI, an index
   * write-back. False when refused.
   */
  write32(vpn: number, offset: number, value: number): boolean;
  /**
   * No transaction is under way: to be called before a worker sleeps, and at least once per
   * millisecond of work.
   */
  idle(): void;
}

export interface SplitIova {
  readonly vpn: number;
  readonly offset: number;
}

/** A 64-bit iova as page number and offset. */
export function splitIova(iova: bigint): SplitIova {
  return { vpn: Number(BigInt.asUintN(64, iova) >> 12n), offset: Number(iova & 0xfffn) };
}
