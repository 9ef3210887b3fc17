/** Builds a vCPU and its machine, and runs the vCPU as a thread until the end of the process. */
import { availableParallelism } from 'node:os';
import { DatagramPort } from '../../../devices/backends/datagram-port.ts';
import { ExportedTree } from '../../../devices/backends/exported-tree.ts';
import { FramePort } from '../../../devices/backends/frame-port.ts';
import { SocketStream } from '../../../devices/backends/socket-stream.ts';
import { block } from '../../../devices/virtio/blk.ts';
import { serialConsole } from '../../../devices/virtio/console.ts';
import type { VirtioKind } from '../../../devices/virtio/device.ts';
import { DiskFile } from '../../../devices/virtio/disk-file.ts';
import { network } from '../../../devices/virtio/net.ts';
import { fileSystem } from '../../../devices/virtio/ninep.ts';
import { NinepServer } from '../../../devices/virtio/ninep-server.ts';
import { entropy } from '../../../devices/virtio/rng.ts';
import { SysError } from '../../../platform/errno.ts';
import { EPOLLET, epollArm } from '../../../platform/libc/epoll.ts';
import { POLLIN } from '../../../platform/libc/poll.ts';
import { derivedBytes } from '../../../platform/random.ts';
import { int32s } from '../../../platform/shared.ts';
import { type PlacedBar, VfioDevice } from '../../client/device.ts';
import { type FileCalls, TaskChannel } from '../../client/task-channel.ts';
import { hartCount, MachineBlock } from '../../machine/control/control-block.ts';
import type { Translator } from '../../machine/hart-local/hart-local.ts';
import { Machine } from '../../machine/machine.ts';
import { ConsoleInput } from '../../machine/shared/console-input.ts';
import { ConsoleOutput, type WriteBytes } from '../../machine/shared/console-output.ts';
import { InterruptRoutes } from '../../machine/shared/interrupt-routes.ts';
import { PassthroughFunction } from '../../machine/shared/passthrough.ts';
import { recordedAnswers, recordedDisk, recordedStream, recordedWire } from '../../machine/shared/replay/ports.ts';
import { Recording } from '../../machine/shared/replay/recording.ts';
import { toStream } from '../../machine/shared/serial-line.ts';
import type { VirtioUnit } from '../../machine/shared/virtio-devices.ts';
import { placeBars } from '../../passthrough/peer-bars.ts';
import type { VmShared } from '../vm-shared.ts';
import { runVcpu } from './loop.ts';
import { PostedInterrupts } from './posted-interrupts.ts';
import type { MachineParts, VcpuChannel, VcpuInput, VcpuMessage, VirtioPart } from './protocol.ts';
import { StoppedState } from './stopped-state.ts';
import { Vcpu } from './vcpu.ts';

export interface VcpuOptions {
  readonly shared: VmShared;
  readonly parts: MachineParts;
  /** The running thread's way into the kernel. */
  readonly kernel: FileCalls;
  readonly registerPages?: VcpuChannel['registerPages'];
  readonly interruptPages?: VcpuChannel['interruptPages'];
  /** Whether it lends harts to their threads, and blocks until they are back. */
  readonly lends?: boolean;
  /** That of OWNER_HART, if it has been made ahead. */
  readonly translator?: Translator | undefined;
  tell(message: VcpuMessage): void;
}

/** A vCPU that waits for the state of its machine. */
export function buildVcpu(options: VcpuOptions): Vcpu {
  const { shared, parts, kernel, registerPages, interruptPages, lends = false, translator, tell } = options;
  const routes = new InterruptRoutes(shared.routes);
  const control = int32s(shared.control);
  const functions = parts.devices.map((description, i) => {
    const { peerBars } = parts;
    const page = registerPages?.[i];
    const extras = {
      // pairs with the store in Vm.#lose; the request to run lies between
      isGone: () => (Atomics.load(control, MachineBlock.word.gone) & (1 << i)) !== 0,
      ...(peerBars ? { placeBars: (at: readonly PlacedBar[]) => placeBars(peerBars, i, kernel, at) } : {}),
      ...(page ? { page } : {}),
    };
    const intx = parts.intx?.[i];
    if (intx !== undefined && parts.news !== undefined) epollArm(parts.news, intx, POLLIN | EPOLLET);
    return new PassthroughFunction(new VfioDevice(description, kernel, extras), routes, intx);
  });
  const streams = (parts.listeners ?? []).map((end) => new SocketStream(end, parts.news));
  const shares = (parts.folders ?? []).map((folder) => new NinepServer(new ExportedTree(folder)));
  const serial = typeof parts.serial === 'number' ? streams[parts.serial] : undefined;
  const posted = new PostedInterrupts({
    devices: functions.map((fn, i) => ({
      page: interruptPages?.[i],
      get routes() {
        return fn.routes; // it gets them with its state
      },
      get accesses() {
        return fn.accesses;
      },
    })),
    routes,
    control,
    imsic: shared.imsic,
    harts: hartCount(shared.control),
    cpus: availableParallelism(),
    sleeps: lends,
  });
  const { icount } = parts;
  const counted = icount !== undefined;
  const random = counted ? { fill: derivedRandom(() => machine.shared.icount!.clock.ns) } : {};
  const recording = parts.recording && new Recording(parts.recording, () => machine.shared.icount!.clock);
  const around = { streams, shares, news: parts.news, recording, ...random };
  const machine: Machine = new Machine({
    ram: parts.ram,
    ...(parts.accel ? { accel: parts.accel } : {}),
    translator,
    entry: parts.entry,
    next: parts.next,
    aia: parts.aia ?? 'aplic-imsic',
    aplic: parts.aplic,
    iommu: parts.iommu,
    virtio: parts.virtio?.map((part, port) => unitOf(part, port, around)),
    streams,
    shares,
    serial,
    semihosting: parts.semihosting,
    fwCfg: parts.fwCfg,
    icount,
    recording,
    control: shared.control,
    imsic: shared.imsic,
    input: new ConsoleInput(shared.input, { hears: counted }),
    output: new ConsoleOutput(shared.output, parts.serial === 'null' ? toNobody : serial && toStream(serial), {
      steady: counted,
    }),
    functions,
    poll: () => posted.poll(),
  });
  const stopped = lends ? new StoppedState(shared.stopped) : undefined;
  return new Vcpu(machine, { shared, lends, posted, stopped, tell });
}

const toNobody: WriteBytes = ({ length }) => length;

/**
 * Where a run is to be the same again, random bytes follow from the moment at which the guest asks
 * for them, and from how many times it has asked at that moment.
 */
function derivedRandom(ns: () => bigint): (bytes: Uint8Array) => Uint8Array {
  let last = -1n;
  let times = 0;
  return (bytes) => {
    const now = ns();
    times = now === last ? times + 1 : 0;
    last = now;
    bytes.set(derivedBytes(`virtio-rng ${now} ${times}`, bytes.length));
    return bytes;
  };
}

interface Surroundings {
  readonly streams: readonly SocketStream[];
  readonly shares: readonly NinepServer[];
  /** Fills bytes with random ones; absent: with the host's. */
  readonly fill?: (bytes: Uint8Array) => Uint8Array;
  readonly news: number | undefined;
  readonly recording: Recording | undefined;
}

const unitOf = (part: VirtioPart, port: number, around: Surroundings): VirtioUnit => ({
  transport: part.transport,
  iommuPlatform: part.iommuPlatform,
  vectors: part.vectors,
  kind: kindOf(part, port, around),
});

/** `port` counts the devices. */
function kindOf(part: VirtioPart, port: number, { streams, shares, news, fill, recording }: Surroundings): VirtioKind {
  /** The way of a device to the outside, recorded where the guest is. */
  const way = <T>(to: T, recorded: (to: T, port: number, recording: Recording) => T): T =>
    recording ? recorded(to, port, recording) : to;
  switch (part.kind) {
    case 'rng':
      return entropy(fill);
    case 'blk':
      return block(way(new DiskFile(part.disk), recordedDisk));
    case 'net':
      if (typeof part.wire === 'number') {
        return network(way(new FramePort(streams[part.wire]!), recordedWire), part.mac);
      }
      if (news !== undefined) epollArm(news, part.wire.fd, POLLIN | EPOLLET);
      return network(way(new DatagramPort(part.wire), recordedWire), part.mac);
    case '9p':
      return fileSystem(way(shares[part.folder]!, recordedAnswers), part.tag);
    case 'serial':
      return serialConsole(way(streams[part.listener]!, recordedStream));
  }
}

const NO_CHANNEL: VcpuChannel = { socket: -1, registerPages: [], interruptPages: [] };

/** The thread's vCPU, which waits for the state of its machine. `translator` as in VcpuOptions. */
export function vcpuOfThread(
  input: VcpuInput,
  translator: Translator | undefined,
  tell: (message: VcpuMessage) => void,
): Vcpu {
  const { shared, parts, channel } = input;
  const { socket, callPage, registerPages, interruptPages } = channel ?? NO_CHANNEL;
  const kernel = new TaskChannel(socket, () => callPage);
  return buildVcpu({ shared, parts, kernel, registerPages, interruptPages, lends: true, translator, tell });
}

/** The thread's life: `begin` gives its vCPU. It throws errors that no guest can cause. */
export function startVcpu({ shared }: VcpuInput, begin: () => Vcpu, tell: (message: VcpuMessage) => void): void {
  try {
    runVcpu(begin(), shared.control);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    tell({ kind: 'failed', reason: error.message });
  }
}
