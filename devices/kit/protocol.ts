/**
 * Messages between the board and a device worker: the data with which it begins, and what it
 * reports. Requests go by control.ts and the mailbox.
 */
import type { MessagePort } from 'node:worker_threads';

import type { PaRange } from '../../iommu/bus/range.ts';
import type { DeviceState } from './control.ts';
import type { DeviceFiles } from './device.ts';

export interface DeviceWorkerData {
  /** The device's folder in devices/. */
  readonly folder: string;
  readonly bdf: number;
  readonly properties: Readonly<Record<string, string>>;
  /** The addresses that firmware gives the BARs: BAR index → pa on the bus, or first port. */
  readonly barAddresses: Readonly<Record<number, number>>;
  readonly interruptLine: number;
  /** What is behind the device. */
  readonly files: DeviceFiles;
  /** The bytes of its expansion ROM. */
  readonly rom?: Uint8Array | undefined;
  readonly mailbox: SharedArrayBuffer;
  /** Accesses of other functions to its registers (iommu/bus/peer-cycles.ts). */
  readonly peerBox: SharedArrayBuffer;
  /** The mailboxes of all functions of the bus, by PCI slot. */
  readonly bells: readonly (SharedArrayBuffer | undefined)[];
  /** Its register pages (iommu/bus/register-pages.ts), and the board's arena of pages. */
  readonly registerPages: SharedArrayBuffer;
  readonly pages: SharedArrayBuffer;
  /** The board's spinning threads (platform/spinners.ts). */
  readonly spinners: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly intx: SharedArrayBuffer;
  /** The board's doorbell table, with the sources that `intx` signals. */
  readonly interrupts: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly timeline: SharedArrayBuffer;
  /** Gate of its BARs in memory space (iommu/bus/bar-gate.ts). */
  readonly barGate: SharedArrayBuffer;
  /**
   * The IOMMU unit in front. `agent` says which agent of it this worker is. Without a unit, iova =
   * pa.
   */
  readonly unit?: SharedArrayBuffer;
  readonly agent: number;
  /**
   * For a device whose memory accesses the kernel makes: the channel
   * (iommu/bus/mediated-channel.ts), and the port that tells the kernel of a request.
   */
  readonly mediated?: { readonly channel: SharedArrayBuffer; readonly port: MessagePort };
  /** The memory map as of now; later changes come on physicalPort, which is in the transferList. */
  readonly physical: readonly PaRange[];
  readonly physicalPort: MessagePort;
}

/** The message on the worker's parentPort at each change. */
export interface DeviceMessage {
  readonly state: DeviceState;
}
