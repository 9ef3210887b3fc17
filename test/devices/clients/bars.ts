/**
 * What a client sees of BARs: one scenario per word in argv[3], each says one value. argv: socket,
 * scenario.
 */

import {
  DeviceFeature,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
} from '../../../iommu/abi/vfio.ts';
import { MAPPING_PATH } from '../../../iommu/abi/wire.ts';
import { SysError } from '../../../platform/errno.ts';
import { encodeFrame } from '../../../platform/frames.ts';
import { ftruncate } from '../../../platform/libc/file-bytes.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import {
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  vaddrOf,
} from '../../../platform/libc/mmap.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import { recvWithFd } from '../../../platform/libc/pass-fd.ts';
import { connectUnix, sendAll } from '../../../platform/libc/unix-socket.ts';
import { mapDma, unmapDma } from '../../../vmm/client/dma.ts';
import { Capture, readFrame } from '../../../vmm/client/drivers/capture.ts';
import { Edu } from '../../../vmm/client/drivers/edu.ts';
import { pollUntil } from '../../../vmm/client/drivers/polling.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { connectTask } from '../../../vmm/client/kernel-client.ts';
import { Conversation } from '../../../vmm/client/task-channel.ts';
import { deviceOf, kernel, type OpenedDevice, openDeviceOf, say, setCommand, wait } from './script.ts';

// Groups 1, 2, 3, 4
const EDU = '0000:00:04.0';
const IVSHMEM = '0000:00:07.0';
const TESTDEV = '0000:00:08.0';
const EDU2 = '0000:00:09.0';
/** On the hosts of peer-mappings.test.ts. */
const CAPTURE = '0000:00:09.0';
const RW = PROT_READ | PROT_WRITE;

const region = (index: number, offset = 0): number => index * 2 ** 40 + offset;

function outcome(run: () => unknown): unknown {
  try {
    return run() ?? 'done';
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

const mapBar = ({ fd }: OpenedDevice, index: number, offset: number, length: number, prot = RW, flags = MAP_SHARED) =>
  kernel.mmap({ fd, offset: region(index, offset), length, prot, flags });

/** A CPU's load or store: EFAULT where it would be a signal. */
function load(vaddr: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  processVmRead(process.pid, vaddr, bytes);
  return [...bytes];
}
const store = (vaddr: number, ...bytes: number[]) => void processVmWrite(process.pid, vaddr, Uint8Array.from(bytes));

/** pread of region `index`. */
function read({ fd }: OpenedDevice, index: number, offset: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  return [...bytes.subarray(0, kernel.pread(fd, region(index, offset), bytes))];
}
const write = ({ fd }: OpenedDevice, index: number, offset: number, ...bytes: number[]) =>
  kernel.pwrite(fd, region(index, offset), Uint8Array.from(bytes));

function lowPower({ fd }: OpenedDevice, feature: number): void {
  const flags = VFIO_DEVICE_FEATURE_SET | feature;
  kernel.ioctl(fd, VFIO_DEVICE_FEATURE, DeviceFeature.bytes({ argsz: DeviceFeature.size, flags }));
}

/** The object behind a BAR, as a client without our library could have it. */
function objectOf({ fd }: OpenedDevice, index: number): number {
  const channel = new Conversation(connectTask(process.argv[2]!).socket);
  const { token } = channel.ask({ op: 'mmap', fd, offset: region(index), length: 4096, flags: MAP_SHARED }, 'mmap');
  const mapping = connectUnix(process.argv[2]!);
  sendAll(mapping, encodeFrame({ open: MAPPING_PATH, fd: mapping, token }));
  return recvWithFd(mapping, new Uint8Array(64)).passed!;
}

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** One memory, three ways to it. */
  'same-bytes'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const vaddr = mapBar(shared, 2, 0, 1 << 20);
    store(vaddr + 0x10, 1, 2, 3, 4);
    const throughKernel = read(shared, 2, 0x10, 4);
    write(shared, 2, 0xffffe, 5, 6, 7);
    return { throughKernel, end: load(vaddr + 0xffffe, 2), beyond: outcome(() => read(shared, 2, 1 << 20, 1)) };
  },

  'mmap-arguments'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const testdev = openDeviceOf(3, TESTDEV, shared.container);
    const tries: [OpenedDevice, number, number, number, number?, number?][] = [
      [shared, 2, 0, 0],
      [shared, 2, 0x800, 0x1000],
      [shared, 2, 0, 0x100000],
      [shared, 2, 0, 0x100001],
      [shared, 2, 0xff000, 0x1000],
      [shared, 2, 0xff000, 0x2000],
      [shared, 2, 0x100000, 0x1000],
      [shared, 2, 0, 0x1000, RW, MAP_PRIVATE],
      [shared, 2, 0, 0x1000, PROT_NONE],
      [shared, 0, 0, 0x1000],
      [shared, 0, 0, 1],
      [shared, 0, 0, 0x2000],
      [shared, 1, 0, 0x1000],
      [shared, 7, 0, 0x1000],
      [shared, 9, 0, 0x1000],
      [testdev, 1, 0, 0x1000],
      [testdev, 2, 0xf000, 0x1000],
    ];
    const device = tries.map((args) => outcome(() => void mapBar(...args)));
    const container = outcome(() =>
      kernel.mmap({ fd: shared.container, offset: 0, length: 0x1000, prot: RW, flags: MAP_SHARED }),
    );
    return { device, container };
  },

  'memory-off'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const vaddr = mapBar(shared, 2, 0, 1 << 20);
    store(vaddr, 0x5c, 0x5d);
    store(vaddr + 0x80000, 9);
    setCommand(shared.device, 0);
    const off = {
      load: outcome(() => load(vaddr, 1)),
      store: outcome(() => store(vaddr, 1)),
      pread: outcome(() => read(shared, 2, 0, 1)),
      pwrite: outcome(() => write(shared, 2, 0, 1)),
    };
    const second = mapBar(shared, 2, 0x80000, 0x1000);
    const fresh = outcome(() => load(second, 1));
    setCommand(shared.device, 2);
    return { off, fresh, on: [load(vaddr, 3), load(second, 1), read(shared, 2, 0, 2)] };
  },

  /** For a signal to end it. */
  'memory-off-and-touch'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const bytes = new Uint8Array(memory.buffer);
    kernel.mmap({
      fd: shared.fd,
      offset: region(2),
      length: 4096,
      prot: RW,
      flags: MAP_SHARED | MAP_FIXED,
      vaddr: vaddrOf(bytes),
    });
    bytes[5] = 42;
    say(read(shared, 2, 5, 1));
    setCommand(shared.device, 0);
    return bytes[5]; // the CPU's own load
  },

  /** VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY and _EXIT, with memory decoding on all the time. */
  'low-power'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const vaddr = mapBar(shared, 2, 0, 4096);
    store(vaddr, 3);
    lowPower(shared, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
    const low = [outcome(() => load(vaddr, 1)), outcome(() => read(shared, 2, 0, 1))];
    setCommand(shared.device, 2);
    const stillLow = outcome(() => load(vaddr, 1));
    lowPower(shared, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
    return { low, stillLow, after: [load(vaddr, 1), read(shared, 2, 0, 1)] };
  },

  /** A client that cuts off the very object of a BAR while another device writes there. */
  'cut-off'() {
    const { device: engine, registers, container } = openDeviceOf(1, EDU);
    const shared = openDeviceOf(2, IVSHMEM, container);
    setCommand(engine, 6);
    const vaddr = mapBar(shared, 2, 0, 0x4000);
    mapDma(kernel, container, { iova: 0, size: 0x4000, vaddr: vaddr });
    const dma = new Edu(registers);
    dma.writeBus(0, 16);
    ftruncate(objectOf(shared, 2), 0);
    dma.writeBus(0, 16);
    dma.readBus(0, 16);
    const bytes = read(shared, 2, 0, 2);
    setCommand(shared.device, 0);
    setCommand(shared.device, 2);
    write(shared, 2, 0, 8);
    return { bytes, whole: read(shared, 2, 0, 2), last: read(shared, 2, 0xfffff, 1) };
  },

  registers() {
    const testdev = openDeviceOf(3, TESTDEV);
    const vaddr = mapBar(testdev, 0, 0, 4096);
    const bar = kernel.mappedBar(vaddr + 8)!;
    kernel.pwrite(bar.fd, 0, Uint8Array.of(1));
    const data = new Uint8Array(1);
    kernel.pread(bar.fd, bar.offset, data);
    setCommand(testdev.device, 0);
    const off = outcome(() => kernel.pread(bar.fd, bar.offset, data));
    return { data: data[0], off, raw: outcome(() => load(vaddr, 4)), registers: bar.registers };
  },

  ports() {
    const testdev = openDeviceOf(3, TESTDEV);
    write(testdev, 1, 0, 1);
    setCommand(testdev.device, 1); // I/O decoding only
    const io = read(testdev, 1, 0, 8);
    setCommand(testdev.device, 2);
    return { io, off: read(testdev, 1, 0, 8), beyond: outcome(() => read(testdev, 1, 256, 1)) };
  },

  /** CORE-9 */
  'mapping-holds-device'() {
    const shared = openDeviceOf(2, IVSHMEM);
    const vaddr = mapBar(shared, 2, 0, 0x3000);
    const group = (): unknown => outcome(() => kernel.close(kernel.open('/dev/vfio/2')));
    kernel.close(shared.fd);
    kernel.close(shared.groupFd);
    kernel.close(shared.container);
    store(vaddr, 7);
    const steps = [load(vaddr, 1), group()];
    kernel.munmap(vaddr + 0x1000, 0x1000);
    steps.push(group());
    kernel.munmap(vaddr, 0x1000);
    steps.push(group());
    kernel.munmap(vaddr + 0x2000, 0x1000);
    steps.push(group());
    return steps;
  },

  /** P2P: edu writes into the shared memory's BAR. */
  'peer-to-peer'() {
    const { device: engine, registers, container } = openDeviceOf(1, EDU);
    const shared = openDeviceOf(2, IVSHMEM);
    setCommand(engine, 6);
    const ram = memfdCreate('ram', 3);
    ftruncate(ram, 4096);
    const ramVaddr = mmap(0, 4096, RW, MAP_SHARED, ram, 0);
    store(ramVaddr, 0x77, 0x78);
    mapDma(kernel, container, { iova: 0, size: 4096, vaddr: ramVaddr });
    const vaddr = mapBar(shared, 2, 0, 0x4000);
    const dma = new Edu(registers);
    const toBar = (value: number): number[] => {
      store(ramVaddr, value, value + 1);
      dma.readBus(0, 2);
      dma.writeBus(0x10_0000, 2);
      return read(shared, 2, 0, 2);
    };

    setCommand(shared.device, 0);
    const mapWhileOff = outcome(() => mapDma(kernel, container, { iova: 0x10_0000, size: 0x4000, vaddr: vaddr }));
    setCommand(shared.device, 2);
    mapDma(kernel, container, { iova: 0x10_0000, size: 0x4000, vaddr: vaddr });
    const landed = toBar(0x77);
    setCommand(shared.device, 0);
    store(ramVaddr, 0x11, 0x12);
    dma.readBus(0, 2);
    dma.writeBus(0x10_0000, 2); // dropped
    setCommand(shared.device, 2);
    const kept = read(shared, 2, 0, 2);
    const again = toBar(0x33);
    kernel.munmap(vaddr, 0x4000);
    kernel.close(shared.fd);
    kernel.close(shared.groupFd);
    kernel.close(shared.container);
    const toClosed = (value: number): void => {
      store(ramVaddr, value, value + 1);
      dma.readBus(0, 2);
      dma.writeBus(0x10_0000, 2);
    };
    toClosed(0x55); // the entry has survived its mapping, and the device is nobody's
    const reopened = openDeviceOf(2, IVSHMEM);
    const afterClose = read(reopened, 2, 0, 2);
    toClosed(0x57);
    return { mapWhileOff, landed, kept, again, afterClose, afterReopen: read(reopened, 2, 0, 2) };
  },

  /** P2P: what becomes of a mapped BAR while its device is disabled, and after it is closed. */
  'peer-lifetime'() {
    const { device: engine, registers, container } = openDeviceOf(1, EDU);
    let shared = openDeviceOf(2, IVSHMEM);
    setCommand(engine, 6);
    const ram = memfdCreate('ram', 3);
    ftruncate(ram, 4096);
    const ramVaddr = mmap(0, 4096, RW, MAP_SHARED, ram, 0);
    mapDma(kernel, container, { iova: 0, size: 4096, vaddr: ramVaddr });
    const dma = new Edu(registers);
    const put = (value: number): void => {
      store(ramVaddr, value);
      dma.readBus(0, 1);
      dma.writeBus(0x10_0000, 1);
    };
    const lands = (value: number): boolean => {
      put(value);
      return read(shared, 2, 0, 1)[0] === value;
    };
    const span = { iova: 0x10_0000, size: 0x4000 };
    const map = (): number => {
      const vaddr = mapBar(shared, 2, 0, 0x4000);
      mapDma(kernel, container, { ...span, vaddr });
      return vaddr;
    };

    const first = map();
    const mapped = lands(1);
    setCommand(shared.device, 0);
    put(2);
    setCommand(shared.device, 2);
    const wasOff = read(shared, 2, 0, 1)[0];
    const on = lands(3);
    const unmapped = unmapDma(kernel, container, span);
    const second = map();
    const again = lands(4);
    for (const vaddr of [first, second]) kernel.munmap(vaddr, 0x4000);
    const notMapped = lands(5);
    kernel.close(shared.fd);
    put(6); // the device is nobody's
    shared = { ...shared, ...deviceOf(openDevice(kernel, shared.groupFd, IVSHMEM), IVSHMEM) };
    const wasClosed = read(shared, 2, 0, 1)[0];
    const reopened = lands(7);
    const left = unmapDma(kernel, container, span);
    map();
    return { mapped, wasOff, on, unmapped, again, notMapped, wasClosed, reopened, left, last: lands(8) };
  },

  /**
   * P2P: capture fills a ring in another device's memory at full speed, while that device is
   * disabled and enabled again and again, and is closed at last.
   */
  'peer-storm'() {
    const ROUNDS = 20;
    const grabber = openDeviceOf(3, CAPTURE);
    let shared = openDeviceOf(2, IVSHMEM);
    setCommand(grabber.device, 6);
    const capture = new Capture(grabber.registers);
    const span = { iova: 0x10_0000, size: 0x1_0000 };
    const vaddr = mapBar(shared, 2, 0, span.size);
    mapDma(kernel, grabber.container, { ...span, vaddr });
    capture.start({ iova: span.iova, frames: 16, frameSize: 4096 });
    /** Whether the next frame that is tried lands. */
    const lands = (): boolean => {
      const [index, faults] = [capture.writeIndex(), capture.faults()];
      pollUntil(() => capture.writeIndex() !== index || capture.faults() !== faults, 'capture: a frame');
      return capture.writeIndex() !== index;
    };
    const seen = { refused: 0, resumed: 0, whole: 0 };
    pollUntil(() => capture.writeIndex() > 16, 'capture: the first round');
    for (let round = 0; round < ROUNDS; round++) {
      setCommand(shared.device, 0);
      if (!lands()) seen.refused++;
      setCommand(shared.device, 2);
      unmapDma(kernel, grabber.container, span);
      mapDma(kernel, grabber.container, { ...span, vaddr });
      const index = capture.writeIndex();
      pollUntil(() => capture.writeIndex() !== index, 'capture: frames after the return');
      seen.resumed++;
      capture.stop();
      const last = (capture.writeIndex() - 1) % 16;
      if (readFrame(Uint8Array.from(read(shared, 2, last * 4096, 4096))).isWhole) seen.whole++;
      capture.start({ iova: span.iova, frames: 16, frameSize: 4096 });
    }
    kernel.munmap(vaddr, span.size);
    kernel.close(shared.fd);
    const closed = lands();
    shared = { ...shared, ...deviceOf(openDevice(kernel, shared.groupFd, IVSHMEM), IVSHMEM) };
    const reopened = lands();
    capture.stop();
    return { ...seen, closed, reopened };
  },

  /** A device is reset while its memory is mapped for another one: whether DMA lands afterwards. */
  'peer-reset'() {
    const { device: engine, registers, container } = openDeviceOf(1, EDU);
    const shared = openDeviceOf(2, IVSHMEM);
    setCommand(engine, 6);
    const dma = new Edu(registers);
    const span = { iova: 0x10_0000, size: 0x4000 };
    const vaddr = mapBar(shared, 2, 0, span.size);
    mapDma(kernel, container, { ...span, vaddr });
    const lands = (value: number): boolean => {
      write(shared, 2, 0x100, value);
      write(shared, 2, 0, 0);
      dma.readBus(span.iova + 0x100, 1);
      dma.writeBus(span.iova, 1);
      return read(shared, 2, 0, 1)[0] === value;
    };

    const before = lands(1);
    shared.device.reset();
    const after = lands(2);
    unmapDma(kernel, container, span);
    mapDma(kernel, container, { ...span, vaddr });
    return { before, after, again: lands(3) };
  },

  /** Two ivshmem devices with one memory: what is written in one of them, the other one shows. */
  'shared-memory'() {
    const { device: engine, registers, container } = openDeviceOf(1, EDU);
    const [one, other] = [openDeviceOf(2, IVSHMEM), openDeviceOf(3, CAPTURE)];
    setCommand(engine, 6);
    const dma = new Edu(registers);
    mapDma(kernel, container, { iova: 0x10_0000, size: 0x4000, vaddr: mapBar(one, 2, 0, 0x4000) });
    mapDma(kernel, container, { iova: 0x20_0000, size: 0x4000, vaddr: mapBar(other, 2, 0, 0x4000) });
    const copied = (): unknown => {
      dma.readBus(0x10_0000, 1);
      dma.writeBus(0x20_0000 + 8, 1);
      return outcome(() => read(one, 2, 8, 1));
    };

    write(one, 2, 0, 7);
    const seen = { both: [read(other, 2, 0, 1), copied()] };
    setCommand(other.device, 0);
    write(one, 2, 0, 9);
    const off = [outcome(() => read(other, 2, 0, 1)), copied()];
    setCommand(other.device, 2);
    const again = [read(other, 2, 0, 1), copied()];
    return { ...seen, off, again };
  },

  /** P2P: edu reads and writes the registers of another edu, and its own. */
  'peer-registers'() {
    const { device: engine, registers, container, ...rest } = openDeviceOf(1, EDU);
    const other = openDeviceOf(4, EDU2);
    setCommand(engine, 6);
    const ram = memfdCreate('ram', 3);
    ftruncate(ram, 4096);
    const ramVaddr = mmap(0, 4096, RW, MAP_SHARED, ram, 0);
    mapDma(kernel, container, { iova: 0, size: 4096, vaddr: ramVaddr });
    mapDma(kernel, container, { iova: 0x10_0000, size: 0x1000, vaddr: mapBar(other, 0, 0, 0x1000) });
    const own = mapBar({ device: engine, registers, container, ...rest }, 0, 0, 0x1000);
    mapDma(kernel, container, { iova: 0x20_0000, size: 0x1000, vaddr: own });
    const dma = new Edu(registers);
    const fetch = (iova: number, length: number): number[] => {
      dma.readBus(iova, length);
      dma.writeBus(0, length);
      return load(ramVaddr, length);
    };
    const put = (iova: number, ...bytes: number[]): void => {
      store(ramVaddr, ...bytes);
      dma.readBus(0, bytes.length);
      dma.writeBus(iova, bytes.length);
    };
    const at = (offset: number): number => 0x10_0000 + offset;

    const id = fetch(at(0), 4);
    const wide = fetch(at(0), 8);
    put(at(4), 1, 2, 3, 4);
    const liveness = read(other, 0, 4, 4);
    // cut at multiples of 8: 4 bytes that edu refuses at 0x7c, then DMA_SOURCE and DMA_DESTINATION
    put(at(0x7c), ...Array.from({ length: 20 }, (_, i) => 0xa0 + i));
    const addresses = fetch(at(0x80), 16);
    const bytewise = fetch(at(0), 2);
    const itself = fetch(0x20_0000, 4);
    put(0x20_0004, 0xf0, 0xff, 0xff, 0xff);
    const ownLiveness = read({ device: engine, registers, container, ...rest }, 0, 4, 4);

    setCommand(other.device, 0);
    const off = fetch(at(0), 4);
    put(at(4), 9, 9, 9, 9); // dropped
    setCommand(other.device, 2);
    const kept = read(other, 0, 4, 4);
    const again = fetch(at(0), 4);
    lowPower(other, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
    const low = fetch(at(0), 4);
    lowPower(other, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
    kernel.close(other.fd);
    kernel.close(other.groupFd);
    const closed = fetch(at(0), 4);
    return { id, wide, liveness, addresses, bytewise, itself, ownLiveness, off, kept, again, low, closed };
  },

  /** Two devices that read each other's registers for a while. */
  'peers-of-each-other'() {
    const one = openDeviceOf(1, EDU);
    const two = openDeviceOf(4, EDU2, one.container);
    const ram = memfdCreate('ram', 3);
    ftruncate(ram, 0x2000);
    const ramVaddr = mmap(0, 0x2000, RW, MAP_SHARED, ram, 0);
    mapDma(kernel, one.container, { iova: 0, size: 0x2000, vaddr: ramVaddr });
    mapDma(kernel, one.container, { iova: 0x10_0000, size: 0x1000, vaddr: mapBar(one, 0, 0, 0x1000) });
    mapDma(kernel, one.container, { iova: 0x20_0000, size: 0x1000, vaddr: mapBar(two, 0, 0, 0x1000) });
    const pairs = [one, two].map((opened, i) => {
      setCommand(opened.device, 6);
      return { dma: new Edu(opened.registers), peer: 0x20_0000 - 0x10_0000 * i, ram: 0x1000 * i };
    });
    const finish = (): void => {
      for (const { dma } of pairs) while (dma.isTransferring());
    };
    const ids = new Set<number>();
    for (let round = 0; round < 20; round++) {
      for (const { dma, peer } of pairs) dma.start({ direction: 'from-bus', iova: peer + 0x80, length: 0x800 });
      for (const { dma, peer } of pairs) dma.start({ direction: 'from-bus', iova: peer, length: 4 });
      finish();
      for (const { dma, peer } of pairs) dma.start({ direction: 'from-bus', iova: peer, length: 4 });
      finish();
      for (const { dma, ram: iova } of pairs) dma.start({ direction: 'to-bus', iova, length: 4 });
      finish();
      for (const { ram: offset } of pairs) ids.add(Buffer.from(load(ramVaddr + offset, 4)).readUInt32LE());
    }
    return [...ids];
  },

  /** Two mappings in one process, and what the host says of them. */
  wait() {
    const shared = openDeviceOf(2, IVSHMEM);
    mapBar(shared, 2, 0, 0x1000);
    kernel.close(shared.fd);
    say('mapped');
    wait();
    return 'over';
  },
};

say(SCENARIOS[process.argv[3]!]!());
