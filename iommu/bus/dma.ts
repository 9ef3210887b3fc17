/**
 * The bus as a device sees it. An address is split into vpn = iova / 4096 (an exact number below
 * 2^52) and a byte offset in that page (below 4096). A transfer may cross pages. devices/kit
 * re-exports this file.
 */

export interface Dma {
  /** Reads dst.length bytes. Returns how many came before a refusal (dst.length without one). */
  read(vpn: number, offset: number, dst: Uint8Array): number;
  /** Writes src.length bytes. Returns how many went before a refusal. */
  write(vpn: number, offset: number, src: Uint8Array): number;
  /**
   * An aligned, single-copy atomic 32-bit store, ordered after all earlier writes. It is for an MSI
   * or an index write-back. False when refused.
   */
  write32(vpn: number, offset: number, value: number): boolean;
  /**
   * Says that no transaction is under way. A device calls this before its worker sleeps, and at
   * least once per millisecond of work.
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
