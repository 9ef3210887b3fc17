/**
 * One PCI function of the board, as its bus and the kernel see it: its shared memory blocks, and
 * nothing of its behaviour.
 */

/** A BAR that is memory; on the memory map it is a range of its own. */
export interface RamBar {
  /** Which BAR (0–5). */
  readonly bar: number;
  /** Its bytes in the function's object: [at, at + size), while it is not withdrawn. */
  readonly at: number;
  readonly size: number;
  /**
   * The object with the bytes if other functions have them, too: [at, at + size) then lies in this
   * one, which clients never get.
   */
  readonly shared?: number;
}

export interface PciFunction {
  /** Requester id: bus << 8 | device << 3 | function. On the IOMMU it is the device id (did). */
  readonly bdf: number;
  /** The device's kind, e.g. 'edu'. */
  readonly name: string;
  /** Config space and register BARs (platform/mailbox.ts). */
  readonly mailbox: SharedArrayBuffer;
  /** Accesses of other functions to its register BARs (peer-cycles.ts). */
  readonly peerBox: SharedArrayBuffer;
  /** Pages by which clients reach its register BARs (register-pages.ts). */
  readonly registerPages: SharedArrayBuffer;
  /** The INTA wire (interrupts.ts: IntxLine). */
  readonly intx: SharedArrayBuffer;
  /** Counters of its DMA port (counters.ts). */
  readonly counters: SharedArrayBuffer;
  /** The times of its work (timeline.ts). */
  readonly timeline: SharedArrayBuffer;
  /**
   * Index of the IOMMU unit in front of it. Undefined without one: the kernel then makes its memory
   * accesses (mediated-channel.ts).
   */
  readonly unit: number | undefined;
  /** Number of its IOMMU group. The function is alone in the group. */
  readonly group: number;
  /**
   * The fd of the memory object that stands for the function (iommu/abi/device-object.ts). It has
   * the bytes of the RAM BARs. The host never maps it, because clients have its fd, too.
   */
  readonly object: number;
  readonly ramBars: readonly RamBar[];
  /** Whether the BARs in memory space answer other devices (bar-gate.ts). */
  readonly barGate: SharedArrayBuffer;
}

/** The size of the object of a function with these BARs. */
export const objectSize = (bars: readonly RamBar[]): number =>
  Math.max(0, ...bars.map(({ at, size, shared }) => (shared === undefined ? at + size : 0)));

/** `0000:00:02.0`: a requester id as Linux prints it, in segment 0. */
export function formatBdf(bdf: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return `0000:${hex(bdf >>> 8, 2)}:${hex((bdf >>> 3) & 31, 2)}.${bdf & 7}`;
}
