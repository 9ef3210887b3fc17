/** /dev/livevmm: facts about the host for tools, and defects on purpose (control.ts has the words). */

import { monotonicNs } from '../../platform/clock.ts';
import { eacces, einval, enodev, SysError } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import type {
  ClientInfo,
  ContainerInfo,
  ControlReplies,
  ControlRequest,
  DeviceInfo,
  GroupInfo,
  HostInfo,
  InjectRequest,
  Memlock,
  SetParameterRequest,
  TimelineRequest,
  UnitInfo,
} from '../abi/control.ts';
import { CONTROL_PATH } from '../abi/wire.ts';
import { readPortCounters } from '../bus/counters.ts';
import { summarize, Timeline } from '../bus/timeline.ts';
import { PGSHIFTS, type UnitDescription } from '../hardware/unit-description.ts';
import type { BoardClient } from './board/board-client.ts';
import type { SentMessages } from './board/protocol.ts';
import type { FileOperations } from './core/open-file.ts';
import type { Profile } from './core/profile.ts';
import type { Task } from './core/task.ts';
import type { IommuDriver } from './driver/driver.ts';
import type { FileTable } from './entry/file-table.ts';
import type { DeviceAccesses } from './mdev/device-accesses.ts';
import type { Pinner } from './mm/pin.ts';
import type { Container } from './vfio/container.ts';
import type { Group } from './vfio/group.ts';
import type { PciDevice } from './vfio/pci/device.ts';
import type { Type1Parameters } from './vfio/type1/iommu.ts';
import { moduleParameter } from './vfio/type1/module-parameters.ts';
import type { Type1Driver } from './vfio/type1/type1.ts';
import type { Vfio } from './vfio/vfio.ts';

const BUCKET_NS = 1e6;

/** A PCI function; `accesses`: those the kernel makes for one without an IOMMU. */
interface KnownDevice {
  readonly device: PciDevice;
  readonly accesses: DeviceAccesses | undefined;
}

/** An IOMMU unit and its driver. */
export interface KnownUnit {
  readonly description: UnitDescription;
  readonly driver: IommuDriver;
}

/** A channel, as far as lists go. */
export interface Client {
  readonly task: Task;
  readonly busy: boolean;
}

export interface ControlOptions {
  readonly profile: Profile;
  readonly vfio: Vfio;
  readonly pciDevices: readonly KnownDevice[];
  readonly units: readonly KnownUnit[];
  readonly pinner: Pinner;
  readonly type1: Type1Driver;
  readonly board: BoardClient;
  readonly clients: () => readonly Client[];
  readonly files: FileTable;
  readonly parameters: Type1Parameters;
  readonly memlock: Memlock;
}

/** One open of it; nothing hangs on it. */
export class ControlFile implements FileOperations {
  readonly name = CONTROL_PATH;
  readonly #options: ControlOptions;
  readonly #privileged: boolean;

  /** `privileged`: opened by root or the host's user. */
  constructor(options: ControlOptions, privileged: boolean) {
    this.#options = options;
    this.#privileged = privileged;
  }

  ioctl(nr: number): number {
    throw new SysError('ENOTTY', `ioctl ${hex(nr)} on ${CONTROL_PATH}`);
  }

  /** The reply of the type that belongs to the request (ControlReplies). EINVAL for an unknown one. */
  control(request: ControlRequest): unknown {
    switch (request.op) {
      case 'info':
        return this.#info();
      case 'timeline':
        return this.#timeline(request);
      case 'ram-hash':
        return this.#options.board.send({ op: 'ram-hash', sliceBytes: positive(request.sliceBytes) });
      case 'stop-device':
        return this.#options.board.send({ op: 'stop-device', bdf: this.#device(request.bdf).fn.bdf });
      case 'inject':
        return this.#inject(request);
      case 'set-parameter':
        return this.#setParameter(request);
    }
    throw einval(`unknown control request ${String((request as { op: unknown }).op)}`);
  }

  release(): void {}

  #device(bdf: unknown): PciDevice {
    const known = this.#options.pciDevices.find(({ device }) => device.name === bdf);
    if (!known) throw enodev(`no device ${String(bdf)}`);
    return known.device;
  }

  #timeline({ bdf, fromNs, toNs }: TimelineRequest): ControlReplies['timeline'] {
    const device = this.#device(bdf);
    const from = positive(fromNs);
    const to = positive(toNs);
    const buckets = new Timeline(device.fn.timeline).slice(from, to);
    return {
      buckets: buckets.map(({ number, ...counts }) => ({ startNs: number * BUCKET_NS, ...counts })),
      ...summarize(buckets, from, to),
    };
  }

  #inject({ defect, bdf }: InjectRequest): ControlReplies['inject'] | Promise<unknown> {
    if (defect === 'touch-pte') {
      if (!this.#options.units.some(({ driver }) => driver.touchPte())) throw einval('no page is mapped');
      return {};
    }
    if (defect !== 'corrupt-frame' && defect !== 'drop-interrupt') throw einval(`unknown defect ${String(defect)}`);
    return this.#options.board.send({ op: 'inject', bdf: this.#device(bdf).fn.bdf, defect });
  }

  #setParameter({ name, value }: SetParameterRequest): ControlReplies['set-parameter'] {
    const { parameters, profile } = this.#options;
    if (typeof value !== 'string') throw einval('the value of a module parameter is a text');
    const set = moduleParameter(parameters, String(name), profile);
    if (!this.#privileged) throw eacces('module parameters are set by root and the user of the host');
    set(value);
    return {};
  }

  async #info(): Promise<HostInfo> {
    const { profile, memlock, vfio, pciDevices, units, pinner, type1, board } = this.#options;
    const sent = (await board.send({ op: 'sent-messages' })) as SentMessages;
    const containers = [...vfio.containers];
    return {
      profile: profile.name,
      memlock,
      pid: process.pid,
      nowNs: monotonicNs(),
      pinnedPages: pinner.pinnedPages,
      busyContainers: type1.busyContainers,
      devices: pciDevices.map((known) => deviceInfo(known, sent.get(known.device.fn.bdf) ?? 0)),
      groups: vfio.groups.map((group) => groupInfo(group)),
      containers: containers.map(containerInfo),
      units: units.map(unitInfo),
      clients: this.#clients(),
    };
  }

  /** In one go, so that the numbers belong together. */
  #clients(): ClientInfo[] {
    const channels = byPid(this.#options.clients(), ({ task }) => task.pid);
    const files = byPid(this.#options.files.list(), ({ pid }) => pid);
    const pids = [...new Set([...channels.keys(), ...files.keys()])];
    return pids.map((pid) => {
      const own = channels.get(pid) ?? [];
      const tasks = own.map(({ task }) => task);
      const now = tasks.find(({ mm }) => mm.alive()) ?? tasks[0]; // a channel of before an exec may not have hung up yet
      return {
        pid,
        channels: own.length,
        files: (files.get(pid) ?? []).map(({ file }) => file.operations.name),
        lockedPages: now?.mm.lockedTotal() ?? 0,
        inKernel: own.filter(({ busy }) => busy).map(({ task }) => task.tid),
      };
    });
  }
}

function byPid<T>(all: Iterable<T>, pidOf: (one: T) => number): ReadonlyMap<number, readonly T[]> {
  const groups = new Map<number, T[]>();
  for (const one of all) {
    const group = groups.get(pidOf(one));
    if (group) group.push(one);
    else groups.set(pidOf(one), [one]);
  }
  return groups;
}

function positive(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw einval(`${String(value)} is no number of bytes or nanoseconds`);
}

function deviceInfo({ device, accesses }: KnownDevice, interruptsSent: number): DeviceInfo {
  const { transactions, bytesRead, bytesWritten, faults, unsupported } = readPortCounters(device.fn.counters);
  return {
    bdf: device.name,
    name: device.fn.name,
    group: device.fn.group,
    unit: device.fn.unit ?? null,
    transactions,
    bytesRead,
    bytesWritten,
    faults,
    unsupported,
    interruptsSent,
    interruptsRaised: device.raised(),
    interruptsDropped: device.dropped(),
    opens: device.openCount,
    ...(accesses ? { blocks: accesses.blocks } : {}),
  };
}

function unitInfo({ description, driver }: KnownUnit, unit: number): UnitInfo {
  const { name, coherent, minPgshift, maxPgshift, apertureBits } = description;
  const pgsizes = PGSHIFTS.filter((shift) => shift >= minPgshift && shift <= maxPgshift).map((shift) => 2 ** shift);
  return { unit, name, coherent, pgsizes, apertureBits, msi: driver.shape.msi, pteWrites: driver.pteWrites };
}

function groupInfo({ id, devices, opened, container }: Group): GroupInfo {
  const names = devices.map(({ name }) => name);
  return { group: id, devices: names, open: opened, ...(container ? { container: container.id } : {}) };
}

function containerInfo({ id, iommuType, groups, iommu }: Container): ContainerInfo {
  const stats = iommu?.stats ?? { mappings: 0, mappedBytes: 0, invalidVaddrs: 0 };
  return { id, ...(iommuType === undefined ? {} : { iommuType }), groups: groups.map((group) => group.id), ...stats };
}
