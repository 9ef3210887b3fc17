/**
 * The board: memory, IOMMU units, PCI bus and devices, and the kernel that runs on it. A board
 * lives until power-off (docs/DESIGN.md, "Three lifetimes").
 */
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import { CALL_PAGES } from '../../iommu/abi/call-page.ts';
import type { RamHashReply } from '../../iommu/abi/control.ts';
import { placeInObject } from '../../iommu/abi/device-object.ts';
import { createBarGate } from '../../iommu/bus/bar-gate.ts';
import { createBoardReply } from '../../iommu/bus/board-reply.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { createDoorbellTable, createIntxLine } from '../../iommu/bus/interrupts.ts';
import { createMediatedChannel } from '../../iommu/bus/mediated-channel.ts';
import { formatBdf, objectSize, type PciFunction, type RamBar } from '../../iommu/bus/pci-function.ts';
import { createPeerBox, NR_PEERS } from '../../iommu/bus/peer-cycles.ts';
import { createPteLog } from '../../iommu/bus/pte-log.ts';
import { createRegisterPages } from '../../iommu/bus/register-pages.ts';
import { createTimeline } from '../../iommu/bus/timeline.ts';
import type { BoardUnit } from '../../iommu/hardware/unit-description.ts';
import type { KernelWorkerData, KexecPermission } from '../../iommu/kernel/board/protocol.ts';
import { monotonicNs } from '../../platform/clock.ts';
import { einval, enodev } from '../../platform/errno.ts';
import { MAILBOX_BYTES } from '../../platform/mailbox.ts';
import { Reservation } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { createSpinners } from '../../platform/spinners.ts';
import type { Defect } from '../kit/control.ts';
import type { DeviceFiles } from '../kit/device.ts';
import { defectsOf } from '../kit/function-properties.ts';
import { parseProperties } from '../kit/properties.ts';
import type { DeviceWorkerData } from '../kit/protocol.ts';
import { type BoardDeviceInfo, type BoardInfo, describe, type Installed } from './board-info.ts';
import { type BoardOptions, type BoardPlan, type KernelSocket, kvemuGroups, planBoard } from './board-options.ts';
import { type DevicePlan, DeviceThread } from './device-thread.ts';
import type { EarlyThreads } from './early-threads.ts';
import type { PlannedDevice } from './floor-plan.ts';
import { buildUnit } from './iommu-units.ts';
import { KernelRequests } from './kernel-requests.ts';
import { KernelThread } from './kernel-thread.ts';
import { KexecImage, type LoadedKernel } from './kexec-image.ts';
import { HashQueue, hashObjects } from './memory-hash.ts';
import { MemoryMap } from './memory-map.ts';
import { NewsThread } from './news/thread.ts';
import { nextKernel } from './next-kernel.ts';
import { OpenFiles } from './open-files.ts';
import { slotOf } from './pci-bus.ts';
import { reserve } from './reserved-memory.ts';

export type { BoardDeviceInfo, BoardInfo };

/** What every kernel of a board is told. */
type KernelBoot = Omit<
  KernelWorkerData,
  'socketPath' | 'listener' | 'life' | 'physical' | 'physicalPort' | 'mediated' | 'board' | 'boardReply'
>;

/** Room for a call page of each task channel that can be, and for some pages of each device. */
const NR_PAGES = 4608 * CALL_PAGES;
const KERNEL_RAM_BYTES = 128 * 2 ** 20;

export class Board {
  readonly #memory: MemoryMap;
  readonly #installed: Installed[] = [];
  readonly #files = new OpenFiles();
  #news: NewsThread | undefined;
  #mediated: KernelWorkerData['mediated'][number][] = [];
  readonly #units: readonly BoardUnit[];
  readonly #interrupts = createDoorbellTable();
  readonly #pteLog = createPteLog();
  /** Room for the pages that clients share with kernel and devices (platform/page-arena.ts). */
  readonly #pages = new Reservation(NR_PAGES * PAGE_SIZE).buffer;
  readonly #spinners = createSpinners();
  readonly #report: (line: string) => void;
  readonly #hashes = new HashQueue<RamHashReply>();
  #kernel: KernelThread | undefined;
  /** The kernel that has begun: its end is a failure. */
  #runs: KernelThread | undefined;
  /** How a kernel is started. */
  #boot: KernelBoot | undefined;
  #socketPath = '';
  readonly #kexecImage = new KexecImage();
  #life: KernelWorkerData['life'] = { kexecs: 0, downNs: null };
  #requests: KernelRequests | undefined;
  #stopped: Promise<void> | undefined;
  #fail: (reason: string) => void = () => {};
  /**
   * Resolves with the reason when the kernel has ended without a request. A device that fails is
   * only reported.
   */
  readonly failed = new Promise<string>((resolve) => {
    this.#fail = resolve;
  });

  private constructor({ report }: BoardOptions, { plan, units }: BoardPlan, kernel: KernelThread | undefined) {
    this.#report = report ?? ((line) => void process.stderr.write(`${line}\n`));
    this.#units = units.map((unit, index) => buildUnit(unit, plan.filter((device) => device.unit === index).length));
    this.#memory = new MemoryMap(() => {
      for (const { thread } of this.#installed) thread.nudge();
    });
    this.#kernel = kernel;
  }

  /**
   * Powers a board on. When this resolves, devices run, and the kernel listens if there is a
   * `socketPath`. EINVAL for a board that cannot be built; nothing is left of it then.
   */
  static async start(options: BoardOptions): Promise<Board> {
    const { socketPath } = options;
    const board = await Board.powerOn(options, { hasKernel: socketPath !== undefined });
    try {
      if (socketPath === undefined) await board.#devicesStarted();
      else await board.boot({ ...options, socketPath });
    } catch (error) {
      await board.stop();
      throw error;
    }
    return board;
  }

  /**
   * Starts the devices' threads and a kernel's, and waits for none of them. `boot` does. `early`:
   * threads that have been started. EINVAL as for `start`.
   */
  static async powerOn(
    options: BoardOptions,
    { hasKernel, early }: { readonly hasKernel: boolean; readonly early?: EarlyThreads | undefined },
  ): Promise<Board> {
    const plan = planBoard(options);
    const software = {
      profile: options.profile ?? '5.12',
      peerMappings: options.peerMappings,
      memlock: options.memlock ?? 'as-process',
      kvemuGroups: kvemuGroups(options, plan.plan),
      tablesMode: options.tablesMode,
    } as const;
    // First: no other start takes as long, and it needs nothing of the board
    const kernel = hasKernel ? new KernelThread(early?.kernel) : undefined;
    let board: Board | undefined;
    try {
      board = new Board(options, plan, kernel);
      const kernelRam = board.#memory.addKernelRam(options.kernelRamBytes ?? KERNEL_RAM_BYTES);
      const doorbell = board.#memory.addDoorbell(board.#interrupts, board.#pages);
      const reserved = reserve(board.#memory, options.pkernfsBytes);
      board.#installDevices(plan.plan, early?.devices ?? []);
      board.#setBoot(software, { kernelRam, doorbell, reserved });
      return board;
    } catch (error) {
      await (board ?? kernel)?.stop();
      throw error;
    } finally {
      for (const unused of early?.devices ?? []) void unused.terminate();
    }
  }

  /** The kernel begins when all devices answer. Resolves when it listens. */
  async boot({ socketPath, listener }: KernelSocket): Promise<void> {
    await this.#devicesStarted();
    this.#socketPath = socketPath;
    await this.#begin({ ...nextKernel(undefined), thread: this.#kernel! }, listener);
  }

  async #devicesStarted(): Promise<void> {
    await Promise.all(this.#installed.map(({ thread }) => thread.started()));
  }

  #installDevices(plan: readonly PlannedDevice[], early: Worker[]): void {
    const agents = this.#units.map(() => 0);
    const files = plan.map((device) => this.#files.open(device));
    const functions = plan.map((device) => this.#createFunction(device));
    const bells: (SharedArrayBuffer | undefined)[] = Array(NR_PEERS).fill(undefined);
    for (const { bdf, mailbox } of functions) bells[slotOf(bdf)] = mailbox;
    for (const [i, device] of plan.entries()) {
      const { model, bdf, properties, barAddresses, interruptLine, rom } = device;
      const pciFunction = functions[i]!;
      const { port, ranges } = this.#memory.subscribe();
      const devicePlan: DevicePlan = {
        function: pciFunction,
        data: {
          folder: model.folder,
          properties,
          barAddresses,
          interruptLine,
          rom,
          files: files[i]!,
          interrupts: this.#interrupts,
          pages: this.#pages,
          spinners: this.#spinners,
          bells,
          ...this.#busOf(device, agents),
          physical: ranges,
        },
        physicalPort: port,
        onFailure: (reason) => this.#report(`device ${formatBdf(bdf)} (${model.type.name}) failed: ${reason}`),
      };
      const thread = new DeviceThread(devicePlan, early.shift());
      this.#installed.push({ plan: device, function: pciFunction, thread });
    }
    this.#watch(files);
  }

  /** Devices hear of news from the files that are watched for them, in the order of the devices. */
  #watch(files: readonly DeviceFiles[]): void {
    const devices = this.#installed.flatMap(({ function: { mailbox }, thread: { controlPage: control } }, i) => {
      const { news } = files[i]!;
      return news === undefined ? [] : [{ news, control, mailbox }];
    });
    if (devices.length === 0) return;
    this.#news = new NewsThread(devices, (reason) => {
      this.#report(`devices hear no more of their sockets: ${reason}`);
    });
  }

  /**
   * The way in which a device reaches memory: as an agent of its IOMMU unit, or by requests to the
   * kernel.
   */
  #busOf({ bdf, unit }: PlannedDevice, agents: number[]): Pick<DeviceWorkerData, 'unit' | 'agent' | 'mediated'> {
    if (unit !== undefined) return { unit: this.#units[unit]!.memory, agent: agents[unit]!++ };
    const channel = createMediatedChannel();
    const { port1: kernel, port2: port } = new MessageChannel();
    this.#mediated.push({ bdf, channel, port: kernel });
    return { agent: 0, mediated: { channel, port } };
  }

  /** Makes the shared memory of a function. Its BARs are on the memory map from here on. */
  #createFunction({ model, bdf, unit, group, bars, barAddresses }: PlannedDevice): PciFunction {
    const barGate = createBarGate();
    const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
    const peerBox = createPeerBox();
    for (const { index, size, kind, space } of bars) {
      if (kind !== 'registers' || space !== 'memory') continue;
      const bar = { bar: index, start: barAddresses[index]!, size };
      this.#memory.addRegisters({ ...bar, box: peerBox, mailbox, gate: barGate });
    }
    const ramBars: RamBar[] = bars
      .filter((bar) => bar.kind === 'ram')
      .map(({ index, size, sharedAs }) =>
        sharedAs === undefined
          ? { bar: index, size, at: placeInObject(index, true) }
          : { bar: index, size, at: 0, shared: this.#memory.sharedMemory(sharedAs, size) },
      );
    const object = this.#memory.addFunctionObject(`vfio-device ${formatBdf(bdf)}`, objectSize(ramBars));
    for (const { bar, at, size, shared = object } of ramBars) {
      this.#memory.addRamBar({ start: barAddresses[bar]!, size, fd: shared, at, gate: barGate });
    }
    return {
      bdf,
      name: model.type.name,
      mailbox,
      peerBox,
      registerPages: createRegisterPages(),
      intx: createIntxLine(),
      counters: createPortCounters(),
      timeline: createTimeline(),
      unit,
      group,
      object,
      ramBars,
      barGate,
    };
  }

  #setBoot(
    software: Omit<
      KernelBoot,
      'kernelRam' | 'doorbell' | 'reserved' | 'interrupts' | 'pages' | 'pteLog' | 'units' | 'functions'
    >,
    { kernelRam, doorbell, reserved }: Pick<KernelBoot, 'kernelRam' | 'doorbell' | 'reserved'>,
  ): void {
    const span = ({ start, size }: Span): Span => ({ start, size });
    this.#boot = {
      ...software,
      reserved,
      kernelRam: span(kernelRam),
      doorbell: span(doorbell),
      interrupts: this.#interrupts,
      pages: this.#pages,
      pteLog: this.#pteLog,
      units: this.#units,
      functions: this.#installed.map((installed) => installed.function),
    };
  }

  /** A loaded kernel takes the machine over, as it is. */
  async #begin({ thread, knowsPkernfs }: LoadedKernel, listener?: number): Promise<void> {
    const { port: physicalPort, ranges } = this.#memory.subscribe();
    const { port1: here, port2: board } = new MessageChannel();
    const boardReply = createBoardReply();
    this.#kernel = thread;
    this.#requests = new KernelRequests(here, boardReply, this.#memory, {
      ramHash: (sliceBytes) => this.ramHash(sliceBytes),
      sentMessages: () =>
        new Map(this.#installed.map(({ function: { bdf }, thread }) => [bdf, thread.control.interrupts()])),
      halt: (bdf, on) => this.#at(bdf).thread.halt(on),
      inject: (bdf, defect) => this.#inject(this.#at(bdf), defect),
      loadKernel: async (target) => void (await this.#kexecImage.load(target)),
      unloadKernel: () => this.#kexecImage.unload(),
      kexec: (target) => this.#prepareKexec(target),
    });
    const boot = this.#boot!;
    void thread.failed.then((reason) => {
      if (this.#runs === thread) this.#fail(reason);
    });
    void thread.down
      .then((mediated) => this.#kexec(mediated, physicalPort))
      .catch((error: Error) => this.#fail(error.message));
    const reserved = knowsPkernfs ? boot.reserved : undefined;
    const [socketPath, life, mediated] = [this.#socketPath, this.#life, this.#mediated];
    await thread.begin(
      { ...boot, socketPath, listener, reserved, life, physical: ranges, physicalPort, mediated, board, boardReply },
      [physicalPort, board, ...mediated.map(({ port }) => port)],
    );
    this.#runs = thread;
  }

  /** The kernel may go down. Errors as KexecImage.load. */
  async #prepareKexec(target: string | undefined): Promise<KexecPermission> {
    const { knowsPkernfs } = await this.#kexecImage.prepare(target);
    const keeps = knowsPkernfs && this.#boot!.reserved !== undefined;
    if (!keeps) this.#report('kexec: the next kernel does not know pkernfs: devices are stopped');
    return { keeps };
  }

  /** The kernel has gone down. */
  async #kexec(mediated: KernelWorkerData['mediated'], physicalPort: MessagePort): Promise<void> {
    this.#life = { kexecs: this.#life.kexecs + 1, downNs: monotonicNs() };
    this.#requests!.close();
    this.#memory.unsubscribe(physicalPort);
    this.#mediated = [...mediated];
    const next = this.#kexecImage.take();
    if (this.#stopped) return next.thread.stop();
    try {
      await this.#begin(next);
    } catch (error) {
      if (next.build === undefined) throw error;
      this.#report(`kexec: the kernel of ${next.build} does not start, ours does: ${(error as Error).message}`);
      this.#requests!.close();
      await this.#begin({ ...nextKernel(undefined), thread: new KernelThread() });
    }
  }

  /** Ends all threads, the kernel first, and lets all memory go. */
  stop(): Promise<void> {
    this.#stopped ??= this.#powerOff();
    return this.#stopped;
  }

  async #powerOff(): Promise<void> {
    await Promise.all([this.#kernel?.stop(), this.#kexecImage.stop()]);
    this.#requests?.close();
    await Promise.all([...this.#installed.map(({ thread }) => thread.stop()), this.#news?.stop()]);
    this.#files.close();
    this.#memory.close();
  }

  info(): BoardInfo {
    return {
      devices: this.#installed.map(describe),
      memory: this.#memory.ranges().map(({ kind, start, size }) => ({ kind, start, size })),
    };
  }

  #at(bdf: number): Installed {
    const installed = this.#installed.find((candidate) => candidate.function.bdf === bdf);
    if (!installed) throw enodev(`no device ${formatBdf(bdf)}`);
    return installed;
  }

  /** EINVAL for a defect that the device does not know. */
  #inject({ plan, thread }: Installed, defect: Defect): void {
    const { type } = plan.model;
    const known = defectsOf(type, parseProperties(type.name, type.properties, plan.properties));
    if (!known.includes(defect)) throw einval(`${type.name}: no defect '${defect}'`);
    thread.control.inject(defect);
  }

  /**
   * Digests of all attached objects, slice by slice, through the board's mapping. EINVAL for a
   * slice size that is no power of two or is less than a page, or if an object has more than 4096
   * slices.
   */
  ramHash(sliceBytes: number): Promise<RamHashReply> {
    return this.#hashes.ask(sliceBytes, async () => ({
      objects: await hashObjects(this.#memory.objects(), sliceBytes),
    }));
  }
}

type Span = KernelWorkerData['kernelRam'];
