/** iommu/hardware/interrupts.ts and its users in the kernel: eventfds handed over and closed, a level masked and unmasked. */
import assert from 'node:assert/strict';
import { createIntxLine, DoorbellTable, IntxLine } from '../../iommu/hardware/interrupts.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { EventTrigger } from '../../iommu/kernel/vfio/pci/event-trigger.ts';
import { Intx } from '../../iommu/kernel/vfio/pci/intx.ts';
import { Msi } from '../../iommu/kernel/vfio/pci/msi.ts';
import { VectorAllocator } from '../../iommu/kernel/vfio/pci/vector-allocator.ts';
import { boardMemory, names as boardNames, kernel, MSI_VPN, port } from './iommu-board.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const A = 5;
const B = 6;
const POLLOUT = 4;
/** State of a fd: as given, closed, then some other file of the same number. */
const OPEN = 0;
const REUSED = 2;

/** Plain words of `fds`: states from 0, counts of signals from 16. */
const SIGNALS = 16;

/** eventfds that can be written as long as they are open; what is closed is soon another file. */
function libc({ fds }: { readonly fds: SharedArrayBuffer }): LibcModel {
  const state = new Int32Array(fds);
  return {
    poll: () => [POLLOUT],
    eventfdSignal: (fd: number) => {
      assert.equal(state[fd], OPEN, `fd ${fd} is written after it was closed`);
      state[SIGNALS + fd]!++;
    },
    close: (fd: number) => {
      assert.equal(state[fd], OPEN, `fd ${fd} is closed twice`);
      state[fd] = REUSED;
    },
  };
}

const signals = (fds: SharedArrayBuffer, fd: number): number => new Int32Array(fds)[SIGNALS + fd]!;

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
      const msi = new Msi(
        noConfigSpace,
        { at: 0x40, is64: false, maxVectors: 1 },
        {
          doorbells: new DoorbellTable(memory.doorbells),
          vectors: new VectorAllocator(8),
          doorbellIova: MSI_VPN * 4096,
          fence: () => commands.fence(),
        },
      );
      msi.enable(1);
      msi.setBlock(0, 1, () => new EventTrigger(A));
      msi.setBlock(0, 1, () => new EventTrigger(B));
      msi.disable();
    },
  },
  check: ({ fds, doorbells }) => {
    const table = new DoorbellTable(doorbells);
    assert.equal(signals(fds, A) + signals(fds, B), table.raised(0), 'each MSI that was raised reached one eventfd');
    assert.equal(table.raised(0) + table.dropped(0), 2, 'each MSI is raised or dropped');
  },
});

const intxMemory = () => ({ intx: createIntxLine(), fds: new SharedArrayBuffer(128) });
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
    device: ({ intx }) => {
      const line = new IntxLine(intx);
      line.assert();
      line.deassert();
      line.assert();
    },
    kernel: ({ intx }) => {
      const irq = new Intx(new IntxLine(intx));
      irq.enable(new EventTrigger(A));
      irq.setTrigger(new EventTrigger(B));
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
    device: ({ intx }) => {
      const line = new IntxLine(intx);
      line.assert();
      line.deassert();
      line.assert();
    },
    kernel: ({ intx }) => {
      const irq = new Intx(new IntxLine(intx));
      irq.enable(new EventTrigger(A));
      irq.mask();
      irq.unmask();
      irq.unmask();
    },
  },
  check: ({ intx, fds }) => {
    const line = new IntxLine(intx);
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
    const line = new IntxLine(memory.intx);
    line.setEventfd(A);
    line.mask();
    return memory;
  },
  libc,
  names: lineNames,
  actors: {
    device: ({ intx }) => new IntxLine(intx).assert(),
    kernel: ({ intx }) => new IntxLine(intx).unmask(),
  },
  check: ({ intx, fds }) => {
    assert.equal(signals(fds, A), 1, 'one unmask, one signal');
    assert.equal(new IntxLine(intx).raised(), 1);
  },
});
