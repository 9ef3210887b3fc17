/** The board: memory, IOMMU units, PCI bus and devices, and the kernel that runs on it. Lives until power-off (DESIGN §2). */
import { MessageChannel } from 'node:worker_threads';

import { createBoardReply } from '../../iommu/hardware/board-reply.ts';
import { createPortCounters, type PortCounts, readPortCounters } from '../../iommu/hardware/counters.ts';
import { createDoorbellTable, createIntxLine } from '../../iommu/hardware/interrupts.ts';
import { formatBdf, type PciFunction } from '../../iommu/hardware/pci-function.ts';
import { createTimeline, Timeline, type TimelineBucket } from '../../iommu/hardware/timeline.ts';
import { createUnit, type UnitOptions } from '../../iommu/hardware/unit-memory.ts';
import type { RamHashReply } from '../../iommu/kernel/control.ts';
import type { ProfileName } from '../../iommu/kernel/profile.ts';
import { einval, enodev } from '../../platform/errno.ts';
import { MAILBOX_BYTES } from '../../platform/mailbox.ts';
import { RamHasher } from '../../platform/ram-hash.ts';
import { type Defect, HALTED, RUNNING, STARTING } from '../kit/control.ts';
import { parseProperties } from '../kit/properties.ts';
import { DeviceThread } from './device-thread.ts';
import { type Model, modelOf } from './device-types.ts';
import { KernelRequests } from './kernel-requests.ts';
import { KernelThread } from './kernel-thread.ts';
import { MemoryMap } from './memory-map.ts';
import { PciBus } from './pci-bus.ts';

export interface DeviceOptions {
  readonly type: string;
  readonly properties: Readonly<Record<string, string>>;
  /** IOMMU unit in front of it; default 0. */
  readonly unit?: number;
}

export interface BoardOptions {
  readonly devices: readonly DeviceOptions[];
  /** Where the kernel listens. Without it no kernel is started, and the IOMMU refuses all DMA. */
  readonly socketPath?: string;
  readonly profile?: ProfileName;
  readonly kernelRamBytes?: number;
  /** One unit unless told otherwise; `agents` is counted here. */
  readonly units?: readonly Omit<UnitOptions, 'agents'>[];
  /** Gets a line when a device worker has failed; default: standard error. */
  readonly report?: (line: string) => void;
}

export interface BarInfo {
  readonly index: number;
  readonly start: number;
  readonly size: number;
}

export interface DeviceCounts extends PortCounts {
  /** Register accesses served. */
  readonly accesses: number;
  /** MSIs the device meant to send, whatever became of them. */
  readonly interrupts: number;
}

export interface BoardDeviceInfo {
  readonly bdf: string;
  readonly name: string;
  readonly group: number;
  readonly unit: number;
  readonly state: 'starting' | 'running' | 'halted' | 'stopped';
  readonly failure?: string;
  readonly bars: readonly BarInfo[];
  readonly counters: DeviceCounts;
}

export interface BoardInfo {
  readonly devices: readonly BoardDeviceInfo[];
  /** The memory map, by pa. */
  readonly memory: readonly { readonly kind: string; readonly start: number; readonly size: number }[];
}

interface Installed {
  readonly model: Model;
  readonly function: PciFunction;
  readonly barAddresses: Readonly<Record<number, number>>;
  readonly thread: DeviceThread;
}

const KERNEL_RAM_BYTES = 128 * 2 ** 20;
const INTERRUPT_LINE = 11; // what PC firmware would write for a shared INTA

export class Board {
  readonly #memory: MemoryMap;
  readonly #installed: Installed[] = [];
  readonly #units: readonly SharedArrayBuffer[];
  readonly #interrupts = createDoorbellTable();
  readonly #report: (line: string) => void;
  #kernel: KernelThread | undefined;
  #requests: KernelRequests | undefined;
  #stopped: Promise<void> | undefined;
  #fail: (reason: string) => void = () => {};
  /** Resolves with the reason when the kernel has ended though nobody asked it to; a device that fails is only reported. */
  readonly failed = new Promise<string>((resolve) => {
    this.#fail = resolve;
  });

  private constructor(options: BoardOptions) {
    this.#report = options.report ?? ((line) => void process.stderr.write(`${line}\n`));
    this.#units = createUnits(options);
    this.#memory = new MemoryMap(() => {
      for (const { thread } of this.#installed) thread.nudge();
    });
  }

  /** Powers a board on: devices run and the kernel listens when this resolves. EINVAL for what cannot be built; nothing is left then. */
  static async start(options: BoardOptions): Promise<Board> {
    for (const { type, properties } of options.devices) {
      const model = modelOf(type);
      parseProperties(type, model.type.properties, properties);
    }
    const board = new Board(options);
    try {
      const kernelRam = board.#memory.addKernelRam(options.kernelRamBytes ?? KERNEL_RAM_BYTES);
      const doorbell = board.#memory.addDoorbell(board.#interrupts);
      board.#installDevices(options.devices);
      await Promise.all(board.#installed.map(({ thread }) => thread.started()));
      if (options.socketPath !== undefined) {
        await board.#startKernel(options.socketPath, options.profile ?? '5.12', { kernelRam, doorbell });
      }
    } catch (error) {
      await board.stop();
      throw error;
    }
    return board;
  }

  #installDevices(devices: readonly DeviceOptions[]): void {
    const bus = new PciBus();
    const agents = this.#units.map(() => 0);
    for (const { type, properties, unit = 0 } of devices) {
      const model = modelOf(type);
      const bdf = bus.nextBdf();
      const pciFunction: PciFunction = {
        bdf,
        name: type,
        mailbox: new SharedArrayBuffer(MAILBOX_BYTES),
        intx: createIntxLine(),
        counters: createPortCounters(),
        timeline: createTimeline(),
        unit,
      };
      const barAddresses = bus.assignBars(model.type.bars);
      const { port, ranges } = this.#memory.subscribe();
      const thread = new DeviceThread({
        function: pciFunction,
        entry: model.entry,
        data: {
          properties,
          barAddresses,
          interruptLine: INTERRUPT_LINE,
          unit: this.#units[unit]!,
          agent: agents[unit]!++,
          physical: ranges,
        },
        physicalPort: port,
        onFailure: (reason) => this.#report(`device ${formatBdf(bdf)} (${type}) failed: ${reason}`),
      });
      this.#installed.push({ model, function: pciFunction, barAddresses, thread });
    }
  }

  async #startKernel(
    socketPath: string,
    profile: ProfileName,
    parts: { readonly kernelRam: Span; readonly doorbell: Span },
  ): Promise<void> {
    const { port: physicalPort, ranges } = this.#memory.subscribe();
    const { port1: here, port2: board } = new MessageChannel();
    const boardReply = createBoardReply();
    this.#requests = new KernelRequests(here, boardReply, this.#memory, {
      ramHash: (sliceBytes) => this.ramHash(sliceBytes),
      sentMessages: () =>
        new Map(this.#installed.map(({ function: { bdf }, thread }) => [bdf, thread.control.interrupts()])),
      halt: (bdf, on) => this.#at(bdf).thread.halt(on),
      inject: (bdf, defect) => this.#inject(this.#at(bdf), defect),
    });
    const span = ({ start, size }: Span): Span => ({ start, size });
    this.#kernel = new KernelThread({
      socketPath,
      profile,
      physical: ranges,
      physicalPort,
      kernelRam: span(parts.kernelRam),
      doorbell: span(parts.doorbell),
      interrupts: this.#interrupts,
      units: this.#units,
      functions: this.#installed.map((installed) => installed.function),
      board,
      boardReply,
    });
    await this.#kernel.ready;
    void this.#kernel.failed.then(this.#fail);
  }

  /** Ends all threads, the kernel first, and lets all memory go. */
  stop(): Promise<void> {
    this.#stopped ??= this.#powerOff();
    return this.#stopped;
  }

  async #powerOff(): Promise<void> {
    await this.#kernel?.stop();
    this.#requests?.close();
    await Promise.all(this.#installed.map(({ thread }) => thread.stop()));
    this.#memory.close();
  }

  info(): BoardInfo {
    return {
      devices: this.#installed.map((installed, group) => describe(installed, group)),
      memory: this.#memory.ranges().map(({ kind, start, size }) => ({ kind, start, size })),
    };
  }

  #at(bdf: number): Installed {
    const installed = this.#installed.find((candidate) => candidate.function.bdf === bdf);
    if (!installed) throw enodev(`no device ${formatBdf(bdf)}`);
    return installed;
  }

  #named(bdf: string): Installed {
    const installed = this.#installed.find((candidate) => formatBdf(candidate.function.bdf) === bdf);
    if (!installed) throw enodev(`no device ${bdf}`);
    return installed;
  }

  /** What a device did in [fromNs, toNs) of CLOCK_MONOTONIC, in buckets of 1 ms. */
  timeline(bdf: string, fromNs: number, toNs: number): TimelineBucket[] {
    return new Timeline(this.#named(bdf).function.timeline).slice(fromNs, toNs);
  }

  /** Halts a device's own work, or resumes it: when this resolves, nothing of it is under way. Its registers go on answering. */
  halt(bdf: string, on: boolean): Promise<void> {
    return this.#named(bdf).thread.halt(on);
  }

  /** Asks a device to do one thing wrong. EINVAL for a defect it does not know. */
  inject(bdf: string, defect: Defect): void {
    this.#inject(this.#named(bdf), defect);
  }

  #inject({ model, thread }: Installed, defect: Defect): void {
    if (!model.defects.includes(defect)) throw einval(`${model.type.name}: no defect '${defect}'`);
    thread.control.inject(defect);
  }

  /** Digests of all attached objects, slice by slice, through the board's mapping. */
  async ramHash(sliceBytes: number): Promise<RamHashReply> {
    if (!(Number.isInteger(sliceBytes) && sliceBytes > 0)) throw einval(`slices of ${sliceBytes} bytes`);
    const hasher = new RamHasher();
    try {
      const objects = [];
      for (const { range, id } of this.#memory.objects()) {
        const slices = await hasher.slices(range.buffer, range.size, sliceBytes);
        objects.push({ ...id, size: range.size, slices });
      }
      return { objects };
    } finally {
      await hasher.close();
    }
  }
}

interface Span {
  readonly start: number;
  readonly size: number;
}

function createUnits({ units = [{}], devices }: BoardOptions): SharedArrayBuffer[] {
  for (const { type, unit = 0 } of devices) {
    if (!(unit >= 0 && unit < units.length)) throw einval(`${type}: no IOMMU unit ${unit}`);
  }
  return units.map((options, index) => {
    const agents = devices.filter(({ unit = 0 }) => unit === index).length;
    return createUnit({ ...options, agents });
  });
}

function describe(
  { model, function: { bdf, name, unit, counters }, barAddresses, thread }: Installed,
  group: number,
): BoardDeviceInfo {
  const { control, failure } = thread;
  const state = control.state();
  return {
    bdf: formatBdf(bdf),
    name,
    group,
    unit,
    state: state === RUNNING ? 'running' : state === HALTED ? 'halted' : state === STARTING ? 'starting' : 'stopped',
    ...(failure === undefined ? {} : { failure }),
    bars: model.type.bars.map(({ index, size }) => ({ index, size, start: barAddresses[index]! })),
    counters: { ...readPortCounters(counters), accesses: control.accesses(), interrupts: control.interrupts() },
  };
}
