/** The host kernel put together: IOMMU drivers, type1, VFIO, the control device, the socket. Thread-free: worker.ts gives it a thread. */

import type { EventfdSources } from '../../platform/eventfd-source.ts';
import { getRlimit, RLIMIT_NOFILE } from '../../platform/libc.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { SLICE_MS } from '../../platform/slices.ts';
import { MSI_WINDOW_START } from '../abi/msi-window.ts';
import { CONTROL_PATH } from '../abi/wire.ts';
import { DoorbellTable, eventfdSources, NR_VECTORS } from '../bus/interrupts.ts';
import type { PciFunction } from '../bus/pci-function.ts';
import { PhysicalMemory } from '../bus/physical.ts';
import { IommuUnit } from '../hardware/unit.ts';
import { BoardClient } from './board/board-client.ts';
import type { KernelWorkerData } from './board/protocol.ts';
import { ControlFile, type ControlOptions, type KnownUnit } from './control-device.ts';
import type { FileOperations } from './core/open-file.ts';
import { type Profile, profileOf } from './core/profile.ts';
import { IommuDriver, type PaSpan } from './driver/driver.ts';
import { RiscvOps } from './driver/riscv-ops.ts';
import type { Peer } from './entry/connection.ts';
import { FileTable } from './entry/file-table.ts';
import { Server } from './entry/server.ts';
import { DeviceAccesses } from './mdev/device-accesses.ts';
import { Kvemu } from './mdev/kvemu.ts';
import { MediatedPciDevice } from './mdev/mediated-pci-device.ts';
import { DeviceMemoryTable } from './mm/device-memory.ts';
import { Pinner } from './mm/pin.ts';
import { BusAccess } from './vfio/pci/access.ts';
import { PciDevice } from './vfio/pci/device.ts';
import { VectorAllocator } from './vfio/pci/vector-allocator.ts';
import { DEFAULT_PARAMETERS } from './vfio/type1/iommu.ts';
import { Type1Driver } from './vfio/type1/type1.ts';
import { Vfio } from './vfio/vfio.ts';

export class Kernel {
  readonly #server: Server;
  readonly #board: BoardClient;
  readonly #units: readonly KnownUnit[];
  readonly #mediated: DeviceAccesses[] = [];
  readonly #sources: EventfdSources;

  constructor(data: KernelWorkerData) {
    const { functions } = data;
    const profile = profileOf(data.profile);
    const physical = new PhysicalMemory(data.physical, data.physicalPort);
    this.#board = new BoardClient(data.board, data.boardReply, physical);
    this.#units = startUnits(data, physical, profile);
    const deviceMemory = new DeviceMemoryTable();
    const fenceAll = (): void => {
      for (const { driver } of this.#units) driver.fence();
    };
    const pinner = new Pinner(this.#board, { ...profile, deviceMemory });
    const vectors = new VectorAllocator(NR_VECTORS);
    const doorbells = new DoorbellTable(data.interrupts);
    const sources = eventfdSources(data.interrupts);
    this.#sources = sources;
    const parameters = { ...DEFAULT_PARAMETERS };
    const maxWatches = watchLimit(Number(getRlimit(process.pid, RLIMIT_NOFILE).soft), functions.length);
    const pci = functions.map((fn) => {
      const driver = fn.unit === undefined ? undefined : this.#units[fn.unit]!.driver;
      const fabric = {
        doorbells,
        vectors,
        doorbellIova: driver?.doorbellIova ?? MSI_WINDOW_START,
        fence: () => driver?.fence(),
      };
      return {
        device: new PciDevice({
          fn,
          pci: new BusAccess(fn.mailbox),
          fabric,
          sources,
          maxWatches,
          profile,
          deviceMemory,
          fenceAll,
        }),
        iommuGroup: driver ? { id: fn.group, driver, dids: [fn.bdf] } : { id: fn.group, dids: [] },
        accesses: this.#accessesOf(fn, data, doorbells),
      };
    });
    const pciFiles = pci.map(({ device, accesses, iommuGroup }) => ({
      device: accesses ? new MediatedPciDevice(device, accesses) : device,
      iommuGroup,
    }));
    const kvemu = data.kvemuGroups.map((id, i) => ({ device: new Kvemu(i), iommuGroup: { id, dids: [] } }));
    const type1 = new Type1Driver({ profile, pinner, parameters, sliceMs: SLICE_MS });
    const vfio = new Vfio({
      profile,
      type1,
      onContainerGone: () => pinner.trim(),
      devices: [...pciFiles, ...kvemu],
    });
    const files = new FileTable();
    const open = (path: string, peer: Peer): FileOperations => {
      const privileged = peer.uid === 0 || peer.uid === process.getuid?.();
      return path === CONTROL_PATH ? new ControlFile(control, privileged) : vfio.open(path, privileged);
    };
    this.#server = new Server({ socketPath: data.socketPath, memlock: data.memlock, files, openPath: open });
    const control: ControlOptions = {
      profile,
      vfio,
      pciDevices: pci,
      units: this.#units,
      pinner,
      type1,
      board: this.#board,
      clients: () => [...this.#server.channels()],
      files,
      parameters,
      memlock: data.memlock,
    };
  }

  /** Of a function without an IOMMU. */
  #accessesOf(
    { bdf, mailbox }: PciFunction,
    data: KernelWorkerData,
    doorbells: DoorbellTable,
  ): DeviceAccesses | undefined {
    const mediated = data.mediated.find((one) => one.bdf === bdf);
    if (!mediated) return undefined;
    const accesses = new DeviceAccesses({ ...mediated, mailbox, doorbells });
    this.#mediated.push(accesses);
    return accesses;
  }

  /** Answers clients from here on. */
  listen(): Promise<void> {
    return this.#server.listen();
  }

  /** Disconnects everybody: devices stop, mappings go, the socket is removed. */
  async stop(): Promise<void> {
    await this.#server.close();
    for (const accesses of this.#mediated) accesses.close();
    this.#board.close();
    this.#sources.dispose(); // the last close of every device has taken its routes away
  }
}

/** Eventfds that each of so many functions may have watched, on a host that may have `nofile` fds: together an eighth of them. */
const watchLimit = (nofile: number, functions: number): number => Math.max(8, Math.floor(nofile / 8 / functions));

/** Each unit's driver has its share of the kernel's RAM. */
function startUnits(
  data: KernelWorkerData,
  physical: PhysicalMemory,
  { replayOutsideAperture: outsideAperture, writeOnlyIsReadable }: Profile,
): readonly KnownUnit[] {
  const { units, kernelRam, doorbell } = data;
  const size = Math.floor(kernelRam.size / units.length / PAGE_SIZE) * PAGE_SIZE;
  const ops = new RiscvOps();
  return units.map(({ memory, description }, i) => {
    const unit = new IommuUnit(memory, physical, () => undefined); // the kernel polls its fault queue
    const ram: PaSpan = { start: kernelRam.start + i * size, size };
    const answers = { outsideAperture, writeOnlyIsReadable };
    const driver = new IommuDriver({ ...description, ...answers, unit, physical, kernelRam: ram, doorbell, ops });
    return { description, driver };
  });
}
