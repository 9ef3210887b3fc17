/**
 * This file puts the host kernel together: IOMMU drivers, type1, VFIO, the control device, the
 * socket. It knows no threads; worker.ts gives it one.
 */

import { monotonicNs } from '../../platform/clock.ts';
import { eacces, SysError } from '../../platform/errno.ts';
import type { EventfdSources } from '../../platform/eventfd-source.ts';
import { forgetFileSystems } from '../../platform/file-systems.ts';
import { getRlimit, RLIMIT_NOFILE } from '../../platform/libc/other-process.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { SLICE_MS } from '../../platform/slices.ts';
import type { PkernfsState } from '../abi/control.ts';
import { MSI_WINDOW_START } from '../abi/msi-window.ts';
import { CONTROL_PATH, PKERNFS_PATH } from '../abi/wire.ts';
import { changesFrom } from '../bus/change-port.ts';
import { DoorbellTable, eventfdSources, NR_VECTORS } from '../bus/interrupts.ts';
import { PhysicalMemory } from '../bus/physical.ts';
import { createPteLog, PteLog, type PteRun } from '../bus/pte-log.ts';
import { IommuUnit } from '../hardware/unit.ts';
import { BoardClient } from './board/board-client.ts';
import type { KernelWorkerData } from './board/protocol.ts';
import { ControlFile, type ControlledHost } from './control-device.ts';
import { Attention } from './core/attention.ts';
import { type Profile, profileOf } from './core/profile.ts';
import { currentPid } from './core/task.ts';
import { type PaSpan, RiscvIommu } from './driver/riscv-iommu.ts';
import { RiscvOps } from './driver/riscv-ops.ts';
import type { Channel } from './entry/channel.ts';
import { clientInfo } from './entry/client-info.ts';
import type { OpenPath } from './entry/connection.ts';
import { FileTable } from './entry/file-table.ts';
import { Server } from './entry/server.ts';
import { type FdShares, shareFds } from './fd-shares.ts';
import { DeviceAccesses } from './mdev/device-accesses.ts';
import { Kvemu } from './mdev/kvemu.ts';
import { MediatedPciDevice } from './mdev/mediated-pci-device.ts';
import { BoardShares } from './mm/board-shares.ts';
import { DeviceMemoryTable } from './mm/device-memory.ts';
import { Pinner } from './mm/pin.ts';
import { BLOCK_BYTES, BLOCK_PAGES } from './pkernfs/layout.ts';
import { listOf, openPkernfs } from './pkernfs/open-files.ts';
import type { Reaches } from './pkernfs/pkernfs.ts';
import { ReservedMemory } from './reserved-memory.ts';
import type { IommuGroup } from './vfio/container-iommu.ts';
import { BusAccess } from './vfio/pci/access.ts';
import { PciDevice } from './vfio/pci/device.ts';
import { VectorAllocator } from './vfio/pci/vector-allocator.ts';
import { Type1Driver } from './vfio/type1/type1.ts';
import { Vfio } from './vfio/vfio.ts';

/** The things that all parts of the kernel use. */
interface Ground {
  readonly data: KernelWorkerData;
  readonly profile: Profile;
  readonly physical: PhysicalMemory;
  readonly board: BoardClient;
  readonly doorbells: DoorbellTable;
  readonly sources: EventfdSources;
  readonly fds: FdShares;
  readonly pteLog: PteLog;
  readonly attention: Attention;
  /** pkernfs; or why this kernel cannot use what there is; undefined: there is no such memory. */
  readonly reserved: ReservedMemory | string | undefined;
}

export class Kernel {
  readonly #server: Server;
  readonly #listener: number | undefined;
  readonly #board: BoardClient;
  readonly #sources: EventfdSources;
  readonly #functions: readonly BoundFunction[];
  readonly #vfio: Vfio;

  /** `kexec` is called when this kernel is to make room for the next one; it then calls leave(). */
  constructor(data: KernelWorkerData, kexec: (keeps: boolean) => void = () => {}) {
    const ground = layGround(data);
    const { profile, board, fds, attention } = ground;
    const reserved = typeof ground.reserved === 'string' ? undefined : ground.reserved;
    const iommus = startIommus(ground, reserved);
    if (reserved) reserved.fs.reaches = reachedBy(iommus, reserved);
    const deviceMemory = new DeviceMemoryTable();
    const shares = new BoardShares({ fds: fds.memory });
    const pinner = new Pinner(board, { ...profile, deviceMemory, shares, reserved });
    const functions = bindFunctions(ground, iommus, deviceMemory);
    const persistence = reserved && (data.tablesMode ?? 'strict');
    const type1 = new Type1Driver({ profile, pinner, sliceMs: SLICE_MS, persistence });
    const vfio = startVfio(ground, functions, type1, () => pinner.trim());
    const files = new FileTable();
    const channels = new Set<Channel>();
    const host: ControlledHost = {
      facts: { profile: profile.name, memlock: data.memlock, kernel: { ...data.life, upNs: monotonicNs() } },
      devices: functions.map(({ device }) => device),
      units: iommus,
      ...{ vfio, type1, pinner, board },
      kexec,
      pkernfs: () => pkernfsState(ground.reserved),
      tablesHash: () => reserved?.tablesHash() ?? null,
      pteLog: ground.pteLog,
      clients: () => clientInfo(channels, files),
    };
    this.#board = board;
    this.#sources = ground.sources;
    this.#functions = functions;
    this.#vfio = vfio;
    const { socketPath, memlock, listener, pages } = data;
    this.#listener = listener;
    const openPath = nodes(vfio, host, reserved);
    const connectionFds = fds.connections;
    const hall = { socketPath, memlock, files, channels, openPath, connectionFds, pages, attention };
    this.#server = new Server({ ...hall, ownsThread: true });
  }

  /** From here on the kernel answers clients. */
  listen(): Promise<void> {
    return this.#server.listen(this.#listener);
  }

  /**
   * kexec: ends as stop() does, but for containers whose page tables outlive this kernel. Their
   * devices go on (PKF-6), if the next kernel `keeps` them.
   */
  async leave(keeps: boolean): Promise<void> {
    const containers = keeps ? [...this.#vfio.containers] : [];
    const groups = containers.filter((one) => one.leaveToNextKernel()).flatMap((one) => one.groups);
    for (const { device, iommuGroup } of this.#functions) {
      if (groups.includes(iommuGroup)) device.leaveToNextKernel();
    }
    await this.stop(true);
  }

  /** Disconnects all clients: devices stop, mappings go, the socket is removed. */
  async stop(left = false): Promise<void> {
    await this.#server.close();
    for (const { device } of this.#functions) if (device instanceof MediatedPciDevice) device.close(left);
    this.#board.close();
    forgetFileSystems(); // the process goes on, and maybe with the next kernel
    this.#sources.dispose(); // the last close of every device has taken its routes away
  }
}

function layGround(data: KernelWorkerData): Ground {
  const physical = new PhysicalMemory(data.physical, changesFrom(data.physicalPort));
  const board = new BoardClient(data.board, data.boardReply, physical);
  return {
    data,
    profile: { ...profileOf(data.profile), ...(data.peerMappings ? { peerMappings: data.peerMappings } : {}) },
    physical,
    board,
    reserved: mountReserved(data, physical, board),
    doorbells: new DoorbellTable(data.interrupts),
    sources: eventfdSources(data.interrupts),
    pteLog: new PteLog(data.pteLog ?? createPteLog()),
    attention: new Attention(),
    fds: shareFds(Number(getRlimit(process.pid, RLIMIT_NOFILE).soft), data.functions.length),
  };
}

/** A pkernfs that this kernel cannot use does not keep it from running; no device goes on, then. */
function mountReserved(
  { reserved, physical: ranges }: KernelWorkerData,
  physical: PhysicalMemory,
  board: BoardClient,
): Ground['reserved'] {
  if (!reserved) return undefined;
  try {
    return new ReservedMemory(reserved, physical, board, ranges);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    process.stderr.write(`kernel: ${error.message}; devices that were left running are stopped\n`);
    return error.message;
  }
}

function pkernfsState(reserved: Ground['reserved']): PkernfsState | null {
  if (reserved === undefined) return null;
  if (typeof reserved === 'string') return { damage: [reserved], repaired: 0, freeBytes: 0, files: [] };
  const { fs } = reserved;
  const { damage, repaired } = fs.state;
  return { damage, repaired, freeBytes: fs.nrFreeBlocks * BLOCK_BYTES, files: listOf(fs) };
}

/** Whether tables of domains that outlive kernels lead to a run of blocks (PKF-5). */
function reachedBy(iommus: readonly RiscvIommu[], reserved: ReservedMemory): Reaches {
  return (firstBlock, nrBlocks) => {
    const pfn = reserved.pfnOf(firstBlock);
    return reserved.domainPfns.some((file) => iommus[0]!.fileLeadsTo(file, pfn, nrBlocks * BLOCK_PAGES));
  };
}

/** Starts the IOMMUs. Each gets an equal share of the kernel's RAM. */
function startIommus(
  { data, physical, profile, pteLog }: Ground,
  reserved: ReservedMemory | undefined,
): readonly RiscvIommu[] {
  const { units, kernelRam, doorbell, life } = data;
  const size = Math.floor(kernelRam.size / units.length / PAGE_SIZE) * PAGE_SIZE;
  const ops = new RiscvOps();
  const { replayOutsideAperture: outsideAperture, writeOnlyIsReadable } = profile;
  return units.map(({ memory, description }, i) => {
    // the kernel polls its fault queue
    const unit = new IommuUnit(memory, physical, () => undefined);
    const ram: PaSpan = { start: kernelRam.start + i * size, size };
    const answers = { outsideAperture, writeOnlyIsReadable };
    const logPtes = (run: PteRun): void => {
      pteLog.append(run, { unit: i, kernel: life.kexecs, pid: currentPid(), timeNs: monotonicNs() });
    };
    const persistent = reserved && { directoryPfn: reserved.directoryPfn(i), domainPfns: reserved.domainPfns };
    return new RiscvIommu({
      ...{ ...description, ...answers, persistent, unit, physical, doorbell, ops, logPtes },
      kernelRam: ram,
    });
  });
}

/** A PCI function that is bound to vfio-pci and alone in its group. */
interface BoundFunction {
  readonly device: PciDevice | MediatedPciDevice;
  readonly iommuGroup: IommuGroup;
}

/** Binds all functions of the board to vfio-pci. */
function bindFunctions(
  { data, profile, doorbells, sources, fds, attention }: Ground,
  iommus: readonly RiscvIommu[],
  deviceMemory: DeviceMemoryTable,
): readonly BoundFunction[] {
  const vectors = new VectorAllocator(NR_VECTORS);
  const fenceAll = (): void => {
    for (const iommu of iommus) iommu.fence();
  };
  const maxWatches = fds.watchesOfDevice;
  return data.functions.map((fn) => {
    const iommuDevice = fn.unit === undefined ? undefined : iommus[fn.unit]!;
    const doorbell = iommuDevice?.doorbellOf(fn.bdf) ?? { acquire: () => MSI_WINDOW_START, release: () => undefined };
    const holds = (): boolean => iommuDevice?.isPersistent(fn.bdf) ?? false;
    const fabric = { doorbells, vectors, doorbell, fence: () => iommuDevice?.fence(), holds };
    const pci = new BusAccess(fn.mailbox);
    const device = new PciDevice({ fn, pci, fabric, sources, maxWatches, profile, deviceMemory, fenceAll });
    if (holds()) device.keep();
    else device.quiet();
    if (iommuDevice) return { device, iommuGroup: { id: fn.group, iommuDevice, dids: [fn.bdf] } };
    const mediated = data.mediated.find(({ bdf }) => bdf === fn.bdf)!;
    const accesses = new DeviceAccesses({ ...mediated, mailbox: fn.mailbox, doorbells, attention });
    return { device: new MediatedPciDevice(device, accesses), iommuGroup: { id: fn.group, dids: [] } };
  });
}

/**
 * Starts VFIO with the board's functions and the devices of the module kvemu, which are on no bus.
 */
function startVfio(
  { data, profile, reserved }: Ground,
  functions: readonly BoundFunction[],
  type1: Type1Driver,
  onContainerGone: () => void,
): Vfio {
  const kvemu = data.kvemuGroups.map((id, i) => ({ device: new Kvemu(i), iommuGroup: { id, dids: [] } }));
  const devices = [...functions, ...kvemu];
  const persistence = typeof reserved === 'object' ? reserved : undefined;
  return new Vfio({ profile, type1, onContainerGone, devices, persistence });
}

/** The device nodes that clients can open. */
function nodes(vfio: Vfio, host: ControlledHost, reserved: ReservedMemory | undefined): OpenPath {
  return (path, { uid }, flags) => {
    const privileged = uid === 0 || uid === process.getuid?.();
    if (reserved && (path === PKERNFS_PATH || path.startsWith(`${PKERNFS_PATH}/`))) {
      if (!privileged) throw eacces(`${path} belongs to the user of the host`);
      return openPkernfs(reserved, path, flags);
    }
    return path === CONTROL_PATH ? new ControlFile(host, privileged) : vfio.open(path, privileged);
  };
}
