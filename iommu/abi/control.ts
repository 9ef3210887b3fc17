/**
 * /dev/livevmm is the control device. This file has the requests that a client can send to it, and
 * their answers. kernel/control-device.ts answers them.
 */
import { einval } from '../../platform/errno.ts';
import { number, object, oneOf, type Shape, text } from '../../platform/shape.ts';
import type { PkernfsEntry } from './wire.ts';

/** The whole host, as `livevmm info` prints it. → HostInfo */
export interface InfoRequest {
  readonly op: 'info';
}

/** The PCI functions as enumeration finds them. No device is opened for it. → FunctionFacts[] */
export interface FunctionsRequest {
  readonly op: 'functions';
}

/**
 * The images in a function's expansion ROM, from `offset` on: ROM_PIECE bytes at most, none behind
 * their end. → RomReply
 */
export interface RomRequest {
  readonly op: 'rom';
  readonly bdf: string;
  readonly offset: number;
}

/** The work of a device in [fromNs, toNs) of CLOCK_MONOTONIC. → TimelineReply */
export interface TimelineRequest {
  readonly op: 'timeline';
  readonly bdf: string;
  readonly fromNs: number;
  readonly toNs: number;
}

/**
 * Hashes every attached memory object through the board's mapping, slice by slice. → RamHashReply
 */
export interface RamHashRequest {
  readonly op: 'ram-hash';
  readonly sliceBytes: number;
}

/** Stops a device's worker loop for good (its registers stay). → {} */
export interface StopDeviceRequest {
  readonly op: 'stop-device';
  readonly bdf: string;
}

/** Makes the host do one thing wrong, to prove that a check would see it. → {} */
export interface InjectRequest {
  readonly op: 'inject';
  /**
   * touch-pte rewrites one live leaf PTE with the same value. The other defects go to the device
   * `bdf`; an uncorrectable-error goes to a PCI Express function, and its user is told (ERR).
   */
  readonly defect: (typeof DEFECTS)[number];
  readonly bdf?: string;
}

/**
 * Sets a parameter of the module vfio_iommu_type1, as root does under /sys/module. Only for root
 * and the host's user. → {}
 */
export interface SetParameterRequest {
  readonly op: 'set-parameter';
  /** dma_entry_limit, or one of the switches allow_unsafe_interrupts and disable_hugepages. */
  readonly name: string;
  /** The text to write. The kernel reads it as a number or as yes or no. */
  readonly value: string;
}

/**
 * Loads the kernel that the next kexec brings: a fresh one, or that of another built version. The
 * present one runs on. It takes the place of one that was loaded before. Only for root and the
 * host's user. → {}, when it is there
 */
export interface KexecLoadRequest {
  readonly op: 'kexec-load';
  /** Folder of the other version. */
  readonly target?: string;
}

/** There will be no kexec. No effect if no kernel is loaded. → {} */
export interface KexecUnloadRequest {
  readonly op: 'kexec-unload';
}

/**
 * Replaces the kernel by the one that is loaded; it is loaded now if it is not. All clients lose
 * their connections. Only for root and the host's user. → {}, when it begins
 */
export interface KexecRequest {
  readonly op: 'kexec';
  /** Folder of the other version. */
  readonly target?: string;
}

/**
 * Takes a device from its driver and out of the host, when nobody has it open; whoever has is asked
 * to close it (PCI-14). Only for root and the host's user. → {}, when it is gone
 */
export interface UnplugRequest {
  readonly op: 'unplug';
  readonly bdf: string;
}

/** SHA-256 of all page tables that outlive the kernel, their files by name. → TablesHashReply */
export interface TablesHashRequest {
  readonly op: 'tables-hash';
}

/** The writes to IOMMU page tables since `fromNs` of CLOCK_MONOTONIC. → PteWritesReply */
export interface PteWritesRequest {
  readonly op: 'pte-writes';
  readonly fromNs: number;
}

export type ControlRequest =
  | InfoRequest
  | FunctionsRequest
  | RomRequest
  | TimelineRequest
  | RamHashRequest
  | StopDeviceRequest
  | InjectRequest
  | KexecLoadRequest
  | KexecUnloadRequest
  | KexecRequest
  | UnplugRequest
  | TablesHashRequest
  | PteWritesRequest
  | SetParameterRequest;

/** Bytes or nanoseconds. */
const amount: Shape<number> = (value, at) => {
  const checked = number(value, at);
  if (!Number.isFinite(checked) || checked < 0) throw einval(`${at}: ${checked} is no number of bytes or nanoseconds`);
  return checked;
};

const DEFECTS = ['touch-pte', 'corrupt-frame', 'drop-interrupt', 'uncorrectable-error'] as const;

const REQUESTS: { readonly [Op in ControlRequest['op']]: Shape<ControlRequest & { readonly op: Op }> } = {
  info: object({ op: oneOf('info') }),
  functions: object({ op: oneOf('functions') }),
  rom: object({ op: oneOf('rom'), bdf: text, offset: amount }),
  timeline: object({ op: oneOf('timeline'), bdf: text, fromNs: amount, toNs: amount }),
  'ram-hash': object({ op: oneOf('ram-hash'), sliceBytes: amount }),
  'stop-device': object({ op: oneOf('stop-device'), bdf: text }),
  inject: object({ op: oneOf('inject'), defect: oneOf(...DEFECTS) }, { bdf: text }),
  unplug: object({ op: oneOf('unplug'), bdf: text }),
  'tables-hash': object({ op: oneOf('tables-hash') }),
  'pte-writes': object({ op: oneOf('pte-writes'), fromNs: amount }),
  'kexec-load': object({ op: oneOf('kexec-load') }, { target: text }),
  'kexec-unload': object({ op: oneOf('kexec-unload') }),
  kexec: object({ op: oneOf('kexec') }, { target: text }),
  'set-parameter': object({ op: oneOf('set-parameter'), name: text, value: text }),
};

/**
 * Parses a request from a client. A malformed request is EINVAL; the message says what is wrong.
 */
export function parseControlRequest(request: object): ControlRequest {
  const { op } = request as { readonly op?: unknown };
  if (typeof op !== 'string' || !Object.hasOwn(REQUESTS, op)) throw einval(`unknown control request ${String(op)}`);
  return REQUESTS[op as ControlRequest['op']](request, op);
}

/** The answer's type of each request. */
export interface ControlReplies {
  readonly info: HostInfo;
  readonly functions: readonly FunctionFacts[];
  readonly rom: RomReply;
  readonly timeline: TimelineReply;
  readonly 'ram-hash': RamHashReply;
  readonly 'stop-device': Record<string, never>;
  readonly inject: Record<string, never>;
  readonly 'kexec-load': Record<string, never>;
  readonly 'kexec-unload': Record<string, never>;
  readonly kexec: Record<string, never>;
  readonly unplug: Record<string, never>;
  readonly 'tables-hash': TablesHashReply;
  readonly 'pte-writes': PteWritesReply;
  readonly 'set-parameter': Record<string, never>;
}

/** A PCI function as Linux shows it in sysfs. */
export interface FunctionFacts {
  readonly bdf: string;
  readonly group: number;
  /** The configuration space as the hardware has it at this moment. */
  readonly config: Uint8Array;
  /** BAR 0–5; null for one that does not exist, and for the upper half of a 64-bit BAR. */
  readonly bars: readonly (BarFacts | null)[];
  /** Where firmware has put the expansion ROM, and its size; null: there is none. */
  readonly rom: Pick<BarFacts, 'start' | 'size'> | null;
}

/** Bytes of a RomReply: the kernel reads a ROM by 4 bytes, each from the device. */
export const ROM_PIECE = 4096;

export interface RomReply {
  readonly bytes: Uint8Array;
}

export interface BarFacts {
  readonly space: 'memory' | 'io';
  /** Where firmware has put it: a pa, or a port. */
  readonly start: number;
  readonly size: number;
  /** The type bits of the BAR's register. */
  readonly flags: number;
}

/** A device as the hardware knows it; `livevmm host --json` prints it, too. */
export interface DeviceFacts {
  readonly bdf: string;
  readonly name: string;
  readonly group: number;
  /** Index in HostInfo.units; null: no IOMMU, its memory accesses go through the kernel. */
  readonly unit: number | null;
  /**
   * Accesses on the bus; bytes moved; accesses refused by the IOMMU (without one, by the kernel);
   * accesses that the IOMMU let through and nothing answered (Unsupported Requests).
   */
  readonly transactions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly faults: number;
  readonly unsupported: number;
  /** MSIs the device meant to send, counted by the device itself. */
  readonly interruptsSent: number;
}

/** A device as the kernel knows it. */
export interface DeviceInfo extends DeviceFacts {
  /** Interrupts delivered to an eventfd, and interrupts that found no eventfd armed. */
  readonly interruptsRaised: number;
  readonly interruptsDropped: number;
  /** Open device fds. */
  readonly opens: number;
  /** Accesses that had to sleep until a vaddr was valid; absent for a device behind an IOMMU. */
  readonly blocks?: BlockInfo;
}

/** Blocked accesses since power-on. An access is counted once it has been carried out. */
export interface BlockInfo {
  readonly count: number;
  readonly longestNs: number;
  /** The last ones, [startNs, endNs) of CLOCK_MONOTONIC, the oldest first. */
  readonly recent: readonly { readonly startNs: number; readonly endNs: number }[];
}

export interface GroupInfo {
  readonly group: number;
  readonly devices: readonly string[];
  readonly open: boolean;
  /** Number of its container in HostInfo.containers; absent outside one. */
  readonly container?: number;
}

export interface ContainerInfo {
  readonly id: number;
  /** VFIO_TYPE1_IOMMU or VFIO_TYPE1v2_IOMMU, absent before SET_IOMMU. */
  readonly iommuType?: number;
  readonly groups: readonly number[];
  readonly mappings: number;
  readonly mappedBytes: number;
  /** Of these: memory of devices, and windows for MSIs, where nothing is pinned. Absent if 0. */
  readonly unpinnedBytes?: number;
  readonly invalidVaddrs: number;
}

export interface UnitInfo {
  readonly unit: number;
  readonly name: string;
  readonly coherent: boolean;
  /** Sizes of the pages it translates, the smallest first. */
  readonly pgsizes: readonly number[];
  readonly apertureBits: number;
  /** How it treats MSIs: by MSI page tables in a fixed window, or as any store. */
  readonly msi: 'flat' | 'translated' | 'donated';
  /** Page-table words written since start, by map and unmap. */
  readonly pteWrites: number;
}

export interface ClientInfo {
  readonly pid: number;
  readonly channels: number;
  readonly files: readonly string[];
  /** VmLck: by mappings and by mlock(2); below 0 after ACC-5's underflow. */
  readonly lockedPages: number;
  /** Threads (tids) that are inside a call: asleep there, unless it is this very request. */
  readonly inKernel: readonly number[];
}

/**
 * The amount of memory that a client may lock: by its own RLIMIT_MEMLOCK, without a limit, or a
 * number of bytes that holds for every client. CAP_IPC_LOCK lifts every limit.
 */
export type Memlock = 'as-process' | 'unlimited' | number;

/** Times are of CLOCK_MONOTONIC. */
export interface KernelFacts {
  /** The kernels before this one since power-on. */
  readonly kexecs: number;
  /** When the last of them ended; null: there was none. */
  readonly downNs: number | null;
  readonly upNs: number;
}

export interface HostInfo {
  readonly profile: string;
  readonly memlock: Memlock;
  readonly kernel: KernelFacts;
  readonly pid: number;
  /** CLOCK_MONOTONIC of this answer. */
  readonly nowNs: number;
  readonly pinnedPages: number;
  /**
   * Containers in the middle of a long call, or of their end. While there are any, the pins may
   * differ from the mappings.
   */
  readonly busyContainers: number;
  readonly devices: readonly DeviceInfo[];
  readonly groups: readonly GroupInfo[];
  readonly containers: readonly ContainerInfo[];
  readonly units: readonly UnitInfo[];
  /** The memory that outlives the kernel; null: the host has none. */
  readonly pkernfs: PkernfsState | null;
  readonly clients: readonly ClientInfo[];
}

export interface PkernfsState {
  readonly files: readonly PkernfsEntry[];
  readonly freeBytes: number;
  /** Pieces that a crash had left over and this kernel's mount has put right. */
  readonly repaired: number;
  /** What is damaged, one line each: the files can be read, and nothing is changed. */
  readonly damage: readonly string[];
}

/** One millisecond of a device's life. */
export interface TimelineBucket {
  readonly startNs: number;
  readonly operations: number;
  readonly transactions: number;
  readonly bytes: number;
  readonly maxGapUs: number;
}

export interface TimelineReply {
  readonly buckets: readonly TimelineBucket[];
  readonly operations: number;
  readonly transactions: number;
  readonly bytes: number;
  /** Largest gap between two DMA transactions in the window, its ends included. */
  readonly maxGapUs: number;
}

/** Hex; null: the host has no such memory, or no such file. */
export interface TablesHashReply {
  readonly sha256: string | null;
}

/** Entries of a page table that were written in one go, one behind the other in one table. */
export interface PteWrite {
  /** CLOCK_MONOTONIC. */
  readonly timeNs: number;
  /** Index in HostInfo.units. */
  readonly unit: number;
  /** First iova of the first entry, hex. */
  readonly iova: string;
  /** 0: entries of 4 KiB; 1: of 2 MiB, or tables of those; and so on. */
  readonly level: number;
  readonly count: number;
  /** The first entry, as 64-bit words in hex. */
  readonly before: string;
  readonly after: string;
  /** The process in whose call it was; null: the kernel's own doing. */
  readonly pid: number | null;
  /** How many kernels there were on the board before the one that wrote. */
  readonly kernel: number;
}

export interface PteWritesReply {
  /** The oldest first. */
  readonly writes: readonly PteWrite[];
  /** False: the host keeps so many, and older ones of the time are forgotten. */
  readonly whole: boolean;
}

export interface RamHashReply {
  /** SHA-256 (hex) of each slice of each object, by st_dev and st_ino. */
  readonly objects: readonly {
    readonly dev: number;
    readonly ino: number;
    readonly size: number;
    readonly slices: readonly string[];
  }[];
}
