/**
 * What a client sees of a board with several IOMMU units: one scenario per word in argv[3], which
 * says one value. argv: socket, scenario. The groups are those of
 * test/iommu/kernel/iommu-units.test.ts.
 */
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { VFIO_DMA_CC_IOMMU, VFIO_GROUP_FLAGS_CONTAINER_SET, VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { SysError } from '../../../platform/errno.ts';
import { eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { MAP_FIXED, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { createMemory, Mapping } from '../../../platform/memory.ts';
import { checkExtension, getType1Info, openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { ControlFile } from '../../../vmm/client/control.ts';
import { donateMsiWindow, mapDma, unmapAllDma, unmapDma } from '../../../vmm/client/dma.ts';
import { Capture } from '../../../vmm/client/drivers/capture.ts';
import { Edu } from '../../../vmm/client/drivers/edu.ts';
import { getGroupStatus, openDevice, openGroup, setContainer, unsetContainer } from '../../../vmm/client/group.ts';
import { deviceOf, kernel, type OpenedDevice, say, setCommand } from './script.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const [PLAIN, EQUAL, COHERENT, TRANSLATED, HUGE, DONATED] = [0, 1, 2, 3, 4, 5];
const [PLAIN_CAPTURE, COHERENT_CAPTURE, EMULATED] = [6, 7, 8];
const bdfOf = (group: number): string => `0000:00:${(group + 2).toString(16).padStart(2, '0')}.0`;

function outcome(run: () => unknown): unknown {
  try {
    return run() ?? 'done';
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/** A memory object of `size` bytes, and its bytes here. */
function memory(size: number): { readonly fd: number; readonly vaddr: number; readonly bytes: Uint8Array } {
  const fd = createMemory('ram', size);
  const mapping = new Mapping(fd, size);
  return { fd, vaddr: mapping.vaddr, bytes: new Uint8Array(mapping.buffer) };
}

/** A container in which groups come and go. */
class Groups {
  readonly fd = openEmptyContainer(kernel);
  readonly #fds = new Map<number, number>();

  /**
   * SET_CONTAINER, and SET_IOMMU after the first: `done` or the errno. A group that is refused is
   * closed again.
   */
  attach(group: number): unknown {
    const fd = openGroup(kernel, group);
    const result = outcome(() => {
      setContainer(kernel, fd, this.fd);
      if (this.#fds.size === 0) setIommu(kernel, this.fd, VFIO_TYPE1v2_IOMMU);
    });
    if (result === 'done') this.#fds.set(group, fd);
    else kernel.close(fd);
    return result;
  }

  detach(group: number): void {
    const fd = this.#fds.get(group)!;
    this.#fds.delete(group);
    unsetContainer(kernel, fd);
    kernel.close(fd);
  }

  device(group: number): Pick<OpenedDevice, 'fd' | 'device' | 'registers'> {
    const opened = deviceOf(openDevice(kernel, this.#fds.get(group)!, bdfOf(group)), bdfOf(group));
    setCommand(opened.device, 6);
    return opened;
  }

  edu(group: number): Edu {
    return new Edu(this.device(group).registers);
  }

  isIn(group: number): boolean {
    return (getGroupStatus(kernel, this.#fds.get(group)!) & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0;
  }

  map(iova: number, size: number, vaddr: number): unknown {
    return outcome(() => mapDma(kernel, this.fd, { iova, size, vaddr }));
  }

  /** Bytes unmapped. */
  unmap(iova: number, size: number): unknown {
    return outcome(() => unmapDma(kernel, this.fd, { iova, size }));
  }

  unmapAll(): unknown {
    return outcome(() => unmapAllDma(kernel, this.fd));
  }

  coherent(): number {
    return checkExtension(kernel, this.fd, VFIO_DMA_CC_IOMMU);
  }

  /** Page sizes and valid iovas, in hexadecimal; a range with its last byte. */
  info(): { readonly pgsizes: string; readonly ranges: readonly string[] } {
    const { pgsizes, iovas } = getType1Info(kernel, this.fd);
    const ranges = iovas.map(({ start, last }) => `${start.toString(16)}-${last.toString(16)}`);
    return { pgsizes: pgsizes.toString(16), ranges };
  }
}

const control = new ControlFile(kernel);
const host = (): HostInfo => control.ask({ op: 'info' });
/** Page-table words written, by unit. */
const written = (): number[] => host().units.map(({ pteWrites }) => pteWrites);
const faults = (group: number): number => host().devices[group]!.faults;

/**
 * Whether a device reaches [iova, iova + 2) for reading and for writing: what it writes is what it
 * has read, plus one page on.
 */
function copies(dma: Edu, iova: number, bytes: Uint8Array, value: number): boolean {
  bytes.set([value, value + 1], 0);
  dma.readBus(iova, 2);
  dma.writeBus(iova + PAGE, 2);
  return bytes[PAGE] === value && bytes[PAGE + 1] === value + 1;
}

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** ATT-2 */
  merge() {
    const groups = new Groups();
    const ram = memory(4 * PAGE);
    groups.attach(PLAIN);
    groups.map(0, 4 * PAGE, ram.vaddr);
    const before = written();
    groups.attach(EQUAL);
    const unchanged = written().every((words, unit) => words === before[unit]);
    const [plain, equal] = [groups.edu(PLAIN), groups.edu(EQUAL)];
    const works = [copies(plain, 0, ram.bytes, 10), copies(equal, 0, ram.bytes, 20)];
    const refused = [faults(PLAIN), faults(EQUAL)];
    groups.unmap(0, 4 * PAGE);
    const after = [copies(plain, 0, ram.bytes, 30), copies(equal, 0, ram.bytes, 40)];
    return { unchanged, works, after, faulted: [faults(PLAIN) > refused[0]!, faults(EQUAL) > refused[1]!] };
  },

  /** ATT-3, ATT-6, ATT-8, ST-1, ST-2 */
  'replay-and-detach'() {
    const groups = new Groups();
    const ram = memory(4 * PAGE);
    groups.attach(PLAIN);
    groups.map(0, 4 * PAGE, ram.vaddr);
    const alone = [groups.coherent(), groups.info()];
    groups.attach(COHERENT);
    const both = [groups.coherent(), groups.info()];
    const dma = groups.edu(COHERENT);
    const replayed = copies(dma, 0, ram.bytes, 50);
    const beyond = groups.map(2 ** 36, PAGE, ram.vaddr);
    const later = [groups.map(0x10_0000, 4 * PAGE, ram.vaddr), copies(dma, 0x10_0000, ram.bytes, 60)];
    groups.detach(PLAIN);
    const rest = [groups.coherent(), groups.info(), copies(dma, 0, ram.bytes, 70)];
    return { alone, both, replayed, beyond, later, rest };
  },

  /** ATT-8: the other group may leave first as well, once its device is closed. */
  'detach-widens'() {
    const groups = new Groups();
    const ram = memory(PAGE);
    groups.attach(PLAIN);
    groups.attach(COHERENT);
    const narrow = groups.map(2 ** 36, PAGE, ram.vaddr);
    groups.detach(COHERENT);
    return { narrow, wide: groups.map(2 ** 36, PAGE, ram.vaddr), info: groups.info() };
  },

  /** ATT-1 */
  conflicts() {
    const groups = new Groups();
    const ram = memory(PAGE);
    groups.attach(PLAIN);
    groups.map(2 ** 37, PAGE, ram.vaddr);
    const info = groups.info();
    const aperture = groups.attach(COHERENT);
    groups.unmapAll();
    groups.map(0x800_0000, PAGE, ram.vaddr);
    const reserved = groups.attach(TRANSLATED);
    const unchanged = JSON.stringify(groups.info()) === JSON.stringify(info) && groups.isIn(PLAIN);
    groups.unmapAll();
    const free = [groups.attach(COHERENT), groups.attach(TRANSLATED)];
    const ranges = groups.info().ranges;
    const maps = [0x800_0000, 0xfee0_0000, 0x810_0000].map((iova) => groups.map(iova, PAGE, ram.vaddr));
    return { aperture, reserved, unchanged, free, ranges, maps };
  },

  /** ATT-1: what was mapped before any real group came. */
  'emulated-first'() {
    const groups = new Groups();
    const ram = memory(PAGE);
    groups.attach(EMULATED);
    groups.map(0xfee0_1000, PAGE, ram.vaddr);
    const fixed = groups.attach(PLAIN);
    groups.unmapAll();
    groups.map(2 ** 38, PAGE, ram.vaddr);
    const narrow = groups.attach(COHERENT);
    return { fixed, narrow, wide: groups.attach(PLAIN) };
  },

  /** ATT-4 */
  messages() {
    const groups = new Groups();
    groups.attach(PLAIN);
    groups.attach(TRANSLATED);
    const counts = [PLAIN, TRANSLATED].map((group) => {
      const event = eventfd(0);
      const { device, registers } = groups.device(group);
      device.armMsi([event]);
      const edu = new Edu(registers);
      edu.raise(1);
      edu.check(); // the device has taken the write before
      return Number(eventfdRead(event));
    });
    return counts;
  },

  /** RSV-1, RSV-3, RSV-5 */
  'donated-window'() {
    const groups = new Groups();
    const ram = memory(PAGE);
    groups.attach(PLAIN);
    groups.attach(DONATED);
    groups.map(0x800_0000, PAGE, ram.vaddr);
    const { msiWindow } = getType1Info(kernel, groups.fd);
    const asked = { size: String(msiWindow?.size), alignment: String(msiWindow?.alignment) };
    const donate = (iova: number): unknown =>
      outcome(() => donateMsiWindow(kernel, groups.fd, { iova, size: 0x10_0000 }));
    const event = eventfd(0);
    const { fd, device, registers } = groups.device(DONATED);
    const edu = new Edu(registers);
    const signals = (): number => {
      edu.raise(1);
      edu.check(); // the device has taken the write before
      edu.acknowledge();
      return Number(eventfdRead(event));
    };

    const before = outcome(() => device.armMsi([event]));
    const conflict = donate(0x7f0_1000);
    const donated = donate(0x900_0000);
    device.armMsi([event]);
    const first = signals();
    const unmapped = groups.unmapAll();
    const second = signals();
    groups.attach(EQUAL);
    groups.map(0, PAGE, ram.vaddr);
    const third = signals();
    kernel.close(fd);
    const again = groups.device(DONATED);
    again.device.armMsi([event]);
    new Edu(again.registers).raise(1);
    new Edu(again.registers).check();
    const later = Number(eventfdRead(event));
    return {
      asked,
      before,
      conflict,
      donated,
      signals: [first, second, third],
      unmapped,
      faults: faults(DONATED),
      later,
    };
  },

  /** ATT-6: the smallest page grows. */
  'page-sizes'() {
    const groups = new Groups();
    const ram = memory(2 * MIB);
    groups.attach(PLAIN);
    groups.map(0, PAGE, ram.vaddr);
    const fragment = groups.attach(HUGE);
    groups.unmapAll();
    groups.map(0, 2 * MIB, ram.vaddr);
    const whole = groups.attach(HUGE);
    const reached = copies(groups.edu(HUGE), MIB, ram.bytes.subarray(MIB), 80);
    return {
      fragment,
      whole,
      reached,
      pgsizes: groups.info().pgsizes,
      small: [groups.map(4 * MIB, PAGE, ram.vaddr), groups.unmap(0, PAGE)],
      unmapped: groups.unmap(0, 2 * MIB),
    };
  },

  /**
   * UNM-15 and invariant 1 with a device writing without pause through each of two domains: after
   * UNMAP_DMA no byte changes. The mapping has 600 runs, so that the unpinning goes in more than
   * one batch (NUM-9).
   */
  'unmap-under-dma'() {
    const groups = new Groups();
    groups.attach(PLAIN_CAPTURE);
    groups.attach(COHERENT_CAPTURE);
    const NR_RUNS = 600;
    const bytes = NR_RUNS * PAGE;
    const ram = memory(bytes);
    const holes = memory(bytes);
    // Page by page the one or the other object, so that no two pages make one run.
    for (let at = PAGE; at < bytes; at += 2 * PAGE) {
      mmap(ram.vaddr + at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, holes.fd, at);
    }
    const captures = [PLAIN_CAPTURE, COHERENT_CAPTURE].map((group, i) => {
      const capture = new Capture(groups.device(group).registers);
      capture.start({ iova: 0x10_0000 + i * 256 * PAGE, frames: 256, frameSize: PAGE });
      return capture;
    });
    const frames = (): number[] => captures.map((capture) => capture.writeIndex());
    let changed = 0;
    let rounds = 0;
    const start = frames();
    for (const end = performance.now() + 1500; rounds < 4 || performance.now() < end; rounds++) {
      if (groups.map(0x10_0000, bytes, ram.vaddr) !== 'done') throw new Error('MAP_DMA');
      const before = frames();
      while (frames().some((count, i) => count - before[i]! < 20));
      if (groups.unmap(0x10_0000, bytes) !== bytes) throw new Error('UNMAP_DMA');
      ram.bytes.fill(0x5a);
      for (const watched = performance.now() + 2; performance.now() < watched; );
      for (const byte of ram.bytes) if (byte !== 0x5a) changed++;
    }
    const wrote = frames().every((count, i) => count > start[i]!);
    return { changed, wrote, pinnedPages: host().pinnedPages };
  },
};

say(SCENARIOS[process.argv[3]!]!());
