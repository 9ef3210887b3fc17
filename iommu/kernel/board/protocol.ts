/**
 * The messages between the board (the host's main thread) and the kernel worker: the data that a
 * kernel begins with, and the messages both ways.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Memlock, RamHashReply } from '../../abi/control.ts';
import type { PciFunction } from '../../bus/pci-function.ts';
import type { PaRange } from '../../bus/range.ts';
import type { BoardUnit } from '../../hardware/unit-description.ts';
import type { PeerMappings, ProfileName } from '../core/profile.ts';

/** What a kernel begins with. */
export interface KernelWorkerData {
  /** UNIX socket to listen on, made with mode 0600; must not exist. */
  readonly socketPath: string;
  /** A socket that listens there already, and is the kernel's from here on. */
  readonly listener?: number | undefined;
  readonly profile: ProfileName;
  /**
   * The kernels before this one since power-on, and when the last of them went down
   * (CLOCK_MONOTONIC; null: there was none).
   */
  readonly life: { readonly kexecs: number; readonly downNs: number | null };
  /** What MAP_DMA with LIVE_UPDATE compares (type1/persistent.ts); default strict. */
  readonly tablesMode?: 'strict' | 'rfc' | undefined;
  /** In place of the profile's. */
  readonly peerMappings?: PeerMappings | undefined;
  readonly memlock: Memlock;
  /** The board's memory map as of now; later changes come on physicalPort. */
  readonly physical: readonly PaRange[];
  readonly physicalPort: MessagePort;
  readonly kernelRam: { readonly start: number; readonly size: number };
  readonly doorbell: { readonly start: number; readonly size: number };
  /**
   * Memory that outlives the kernel (pkernfs): all of it, and its first part, which is RAM of the
   * board now. The rest becomes RAM by BoardCalls.
   */
  readonly reserved?: { readonly start: number; readonly size: number; readonly kernelSize: number } | undefined;
  /** The DoorbellTable, with the eventfd sources. The kernel owns the sources. */
  readonly interrupts: SharedArrayBuffer;
  /** Room for the pages that clients share with kernel and devices (platform/page-arena.ts). */
  readonly pages: SharedArrayBuffer;
  /** The PteLog; a board of an earlier version has none. */
  readonly pteLog?: SharedArrayBuffer;
  readonly units: readonly BoardUnit[];
  readonly functions: readonly PciFunction[];
  /**
   * The functions without an IOMMU: their channels (iommu/bus/mediated-channel.ts), and the ports
   * that tell of requests. The ports are transferred.
   */
  readonly mediated: readonly {
    readonly bdf: number;
    readonly channel: SharedArrayBuffer;
    readonly port: MessagePort;
  }[];
  /**
   * IOMMU groups of the kvemu devices, the first device's group first. They belong to a module with
   * devices of its own that are on no bus (mdev/kvemu.ts).
   */
  readonly kvemuGroups: readonly number[];
  /** Requests to the board's main thread. It is transferred, as physicalPort is. */
  readonly board: MessagePort;
  /** The answers to BoardCalls (iommu/bus/board-reply.ts). */
  readonly boardReply: SharedArrayBuffer;
}

/**
 * A message on the worker's parentPort, once each: the code is there; the kernel listens, or the
 * reason why not (then the worker exits).
 */
export type KernelMessage =
  | { readonly loaded: true }
  | { readonly ready: true }
  /** The kernel has ended for the next one, which gets the ports of mediated devices. */
  | { readonly down: true; readonly mediated: KernelWorkerData['mediated'] }
  /** `code` is the errno's name, for a failure that is no bug. */
  | { readonly fatal: string; readonly code?: string };

/**
 * A message to the worker's parentPort: all devices answer, so the kernel can find them; and there
 * is no other kernel.
 */
export interface KernelBegin {
  readonly begin: KernelWorkerData;
}

/** A message to the worker's parentPort: close everything, unlink the socket and exit. */
export interface KernelStop {
  readonly stop: true;
}

/**
 * Requests for which the kernel blocks its thread (a MAP_DMA is under way). `seq` counts from 1,
 * and the answer carries it. Before the board answers, it has posted the PhysicalChange to every
 * thread that has a PhysicalMemory, this one's physicalPort included.
 */
export type BoardCall =
  /**
   * Map a memory object and give it a pa range. The fd is the board's from here on, also on
   * failure.
   */
  | {
      readonly op: 'attach-object';
      readonly seq: number;
      readonly fd: number;
      readonly size: number;
      readonly dev: number;
      readonly ino: number;
    }
  /**
   * Give private memory of a process a pa range: `size` bytes at `vaddr`, through the process's
   * /proc/<pid>/mem. The fd is the board's.
   */
  | {
      readonly op: 'attach-process';
      readonly seq: number;
      readonly memFd: number;
      readonly vaddr: number;
      readonly size: number;
    }
  /**
   * Make [start, start + size) of the reserved memory RAM, all zero, with an object of its own. It
   * outlives the kernel.
   */
  | { readonly op: 'attach-reserved'; readonly seq: number; readonly start: number; readonly size: number }
  /** Drop the range that starts at pa `start`. */
  | { readonly op: 'detach'; readonly seq: number; readonly start: number };

/** MSIs each device meant to send, by bdf. Only the device itself can know this number. */
export type SentMessages = ReadonlyMap<number, number>;

/** The next kernel is there. `keeps`: it will find what is in the memory that outlives kernels. */
export interface KexecPermission {
  readonly keeps: boolean;
}

/** Requests answered later by a BoardAnswer with the same id. */
export type BoardErrand =
  | { readonly op: 'sent-messages'; readonly id: number }
  | { readonly op: 'ram-hash'; readonly id: number; readonly sliceBytes: number }
  | { readonly op: 'stop-device'; readonly id: number; readonly bdf: number }
  /** Answered when a kernel is loaded that can come next. */
  | { readonly op: 'load-kernel'; readonly id: number; readonly target: string | undefined }
  | { readonly op: 'unload-kernel'; readonly id: number }
  /** As load-kernel, and this kernel may go `down`. */
  | { readonly op: 'kexec'; readonly id: number; readonly target: string | undefined }
  | {
      readonly op: 'inject';
      readonly id: number;
      readonly bdf: number;
      readonly defect: 'corrupt-frame' | 'drop-interrupt' | 'uncorrectable-error';
    };

/** kernel → board, on the board port. */
export type BoardRequest = BoardCall | BoardErrand;

/** board → kernel, on the board port. */
export type BoardAnswer =
  | { readonly id: number; readonly reply: RamHashReply | SentMessages | KexecPermission | Record<string, never> }
  | { readonly id: number; readonly errno: number; readonly message: string };
