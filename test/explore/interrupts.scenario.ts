/**
 * iommu/bus/interrupts.ts and its users in the kernel: eventfds handed over and closed, a level
 * masked and unmasked.
 */
import assert from 'node:assert/strict';
import { createIntxLine, DoorbellTable, eventfdSources, IntxLine } from '../../iommu/bus/interrupts.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { EventTrigger } from '../../iommu/kernel/vfio/pci/event-trigger.ts';
import { Intx } from '../../iommu/kernel/vfio/pci/intx.ts';
import { Msi } from '../../iommu/kernel/vfio/pci/msi.ts';
import { MsiHardware } from '../../iommu/kernel/vfio/pci/msi-hardware.ts';
import { VectorAllocator } from '../../iommu/kernel/vfio/pci/vector-allocator.ts';
import { eperm } from '../../platform/errno.ts';
import { EventfdSources, NO_RING, SOURCES_BYTES, Sources } from '../../platform/eventfd-source.ts';
import { boardMemory, names as boardNames, kernel, MSI_VPN, port } from './iommu-board.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const A = 5;
const B = 6;
/** State of a fd: as given, closed, then some other file of the same number. */
const OPEN = 0;
const REUSED = 2;

/** Plain words of `fds`: states from 0, counts of signals from 16. */
const SIGNALS = 16;

/**
 * eventfds that can be signalled, by aio, as long as they are open; what is closed is soon another
 * file.
 */
function libc({ fds }: { readonly fds: SharedArrayBuffer }): LibcModel {
  const state = new Int32Array(fds);
  return {
    ioUringSetup: () => {
      throw eperm('io_uring_setup');
    },
    aioPrepare: () => undefined,
    aioSignal: (fd: number) => {
      assert.equal(state[fd], OPEN, `fd ${fd} is signalled after it was closed`);
      state[SIGNALS + fd]!++;
    },
    close: (fd: number) => {
      assert.equal(state[fd], OPEN, `fd ${fd} is closed twice`);
      state[fd] = REUSED;
    },
  };
}

const signals = (fds: SharedArrayBuffer, fd: number): number => new Int32Array(fds)[SIGNALS + fd]!;

const CAPABILITY = { at: 0x40, is64: false, maxVectors: 1 };
const noConfigSpace = { readConfig: () => 0, writeConfig: () => undefined } as unknown as PciAccess;

/** SET_IRQS of one MSI while the device sends it: to another eventfd, then to none. */
export const msiHandOver = defineScenario({
  file: import.meta.url,
  name: 'msi-hand-over',
  memory: () => ({ ...boardMemory(1), fds: new SharedArrayBuffer(128) }),
  libc,
  names: boardNames,
  actors: {
    device: (memory) => {
      const dma = port(memory, 0);
      for (let i = 0; i < 2; i++) dma.write32(MSI_VPN, 0, 0);
      dma.idle();
    },
    kernel: (memory) => {
      const { commands } = kernel(memory);
      const sources = eventfdSources(memory.doorbells);
      const msi = new Msi(
        new MsiHardware(noConfigSpace, CAPABILITY),
        {
          doorbells: new DoorbellTable(memory.doorbells),
          vectors: new VectorAllocator(8),
          doorbell: { acquire: () => MSI_VPN * 4096, release: () => undefined },
          fence: () => commands.fence(),
        },
        false,
      );
      msi.enable(1);
      msi.setBlock(0, [A], (fd) => new EventTrigger(sources, fd));
      msi.setBlock(0, [B], (fd) => new EventTrigger(sources, fd));
      msi.disable();
    },
  },
  check: ({ fds, doorbells }) => {
    const table = new DoorbellTable(doorbells);
    assert.equal(signals(fds, A) + signals(fds, B), table.raised(0), 'each MSI that was raised reached one eventfd');
    assert.equal(table.raised(0) + table.dropped(0), 2, 'each MSI is raised or dropped');
  },
});

/** A function whose MSI is enabled, with data 0. */
const sendingFunction = {
  readConfig: (at: number) => (at === 0x42 ? 1 : 0),
  writeConfig: () => undefined,
} as unknown as PciAccess;

/** The kernel ends while the device sends MSIs, and the next one takes the device over. */
export const msiOverKexec = defineScenario({
  file: import.meta.url,
  name: 'msi-over-kexec',
  memory: () => ({ ...boardMemory(1), fds: new SharedArrayBuffer(128) }),
  libc,
  names: boardNames,
  actors: {
    device: (memory) => {
      const dma = port(memory, 0);
      for (let i = 0; i < 3; i++) dma.write32(MSI_VPN, 0, 0);
      dma.idle();
    },
    kernel: (memory) => {
      const { commands } = kernel(memory);
      const sources = eventfdSources(memory.doorbells);
      const msi = (): Msi =>
        new Msi(
          new MsiHardware(sendingFunction, CAPABILITY),
          {
            doorbells: new DoorbellTable(memory.doorbells),
            vectors: new VectorAllocator(8),
            doorbell: { acquire: () => MSI_VPN * 4096, release: () => undefined },
            fence: () => commands.fence(),
            holds: () => true,
          },
          false,
        );
      const before = msi();
      before.keep(); // as an earlier kernel has left it
      before.enable(1);
      before.setBlock(0, [A], (fd) => new EventTrigger(sources, fd));
      before.leave();
      const next = msi();
      next.keep();
      next.enable(1);
      next.setBlock(0, [B], (fd) => new EventTrigger(sources, fd));
    },
  },
  check: ({ fds, doorbells }) => {
    const table = new DoorbellTable(doorbells);
    // what came before the first kernel had the vector was nobody's
    assert.equal(signals(fds, A) + signals(fds, B) + table.dropped(0), 3, 'each MSI has reached one eventfd');
    assert.equal(table.pending(0), 0, 'no MSI pends any more');
  },
});

const intxMemory = () => ({
  intx: createIntxLine(),
  sources: new SharedArrayBuffer(SOURCES_BYTES),
  fds: new SharedArrayBuffer(128),
});
type IntxMemory = ReturnType<typeof intxMemory>;

const lineOf = ({ intx, sources }: IntxMemory): IntxLine => new IntxLine(intx, new EventfdSources(sources));

/** The kernel's half: its INTx, and what makes a fd a trigger of it. */
function irqOf(memory: IntxMemory) {
  const sources = new EventfdSources(memory.sources);
  return {
    irq: new Intx(new IntxLine(memory.intx, sources)),
    trigger: (fd: number): EventTrigger => new EventTrigger(sources, fd),
  };
}
const LINE = ['level', 'signalling', 'raised'];
const lineNames = (buffer: string, word: number): string | undefined =>
  buffer === 'intx' ? (LINE[word] ?? ['masked', 'eventfd'][word - 16]) : undefined;

/** SET_IRQS of INTx while the device asserts it: to another eventfd, then to none. */
export const intxHandOver = defineScenario({
  file: import.meta.url,
  name: 'intx-hand-over',
  memory: intxMemory,
  libc,
  names: lineNames,
  actors: {
    device: (memory) => {
      const line = lineOf(memory);
      line.assert();
      line.deassert();
      line.assert();
    },
    kernel: (memory) => {
      const { irq, trigger } = irqOf(memory);
      irq.enable(trigger(A));
      irq.setTrigger(trigger(B));
      irq.unmask();
      irq.disable();
    },
  },
});

/** The device asserts, the guest's handler makes it let go, VFIO unmasks; and again. */
export const intxLevel = defineScenario({
  file: import.meta.url,
  name: 'intx-level',
  memory: intxMemory,
  libc,
  names: lineNames,
  actors: {
    device: (memory) => {
      const line = lineOf(memory);
      line.assert();
      line.deassert();
      line.assert();
    },
    kernel: (memory) => {
      const { irq, trigger } = irqOf(memory);
      irq.enable(trigger(A));
      irq.mask();
      irq.unmask();
      irq.unmask();
    },
  },
  check: (memory) => {
    const line = lineOf(memory);
    const { fds } = memory;
    assert.ok(line.masked(), 'the level is up and unmasked, and nobody was told');
    assert.equal(signals(fds, A), line.raised());
    // Each signal masks the line, and only enable() and the two unmasks lift that.
    assert.ok(signals(fds, A) <= 3, `one mask, two signals: ${signals(fds, A)} in all`);
  },
});

/** Two threads find an unmasked line that is up: one signal. */
export const intxOnce = defineScenario({
  file: import.meta.url,
  name: 'intx-once',
  memory: () => {
    const memory = intxMemory();
    const words = new Int32Array(memory.sources);
    words[Sources.word.fd] = A; // of source 0
    words[Sources.word.vaddrHi] = NO_RING;
    const line = lineOf(memory);
    line.setSource(0);
    line.mask();
    return memory;
  },
  libc,
  names: lineNames,
  actors: {
    device: (memory) => lineOf(memory).assert(),
    kernel: (memory) => lineOf(memory).unmask(),
  },
  check: (memory) => {
    assert.equal(signals(memory.fds, A), 1, 'one unmask, one signal');
    assert.equal(lineOf(memory).raised(), 1);
  },
});
