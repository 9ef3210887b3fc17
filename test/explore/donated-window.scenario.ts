/**
 * iommu/kernel/driver/donated-window.ts and its users: vectors go while devices send MSIs through
 * the page of the window that their doorbell has (RSV-8).
 */
import assert from 'node:assert/strict';
import { DoorbellTable, eventfdSources } from '../../iommu/bus/interrupts.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { EventTrigger } from '../../iommu/kernel/vfio/pci/event-trigger.ts';
import { Msi } from '../../iommu/kernel/vfio/pci/msi.ts';
import { MsiHardware } from '../../iommu/kernel/vfio/pci/msi-hardware.ts';
import { VectorAllocator } from '../../iommu/kernel/vfio/pci/vector-allocator.ts';
import { eperm } from '../../platform/errno.ts';
import {
  type BoardMemory,
  boardMemory,
  DOORBELL_PFN,
  domainWithWindow,
  kernel,
  leadToDoorbell,
  names,
  port,
  VPN,
} from './iommu-board.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const FIRST_FD = 5;

/** Plain words of `seen`. */
const SEEN = {
  /** MSIs of each device that the IOMMU let through. */
  sent: 0,
  /** MSIs that had arrived when the page was gone. */
  arrived: 2,
  /** By fd: 1 when it is closed. */
  closed: 8,
};

interface WindowMemory extends BoardMemory {
  readonly seen: SharedArrayBuffer;
}

function libc({ seen }: { readonly seen: SharedArrayBuffer }): LibcModel {
  const words = new Int32Array(seen);
  return {
    ioUringSetup: () => {
      throw eperm('io_uring_setup');
    },
    aioPrepare: () => undefined,
    aioSignal: (fd: number) => assert.equal(words[SEEN.closed + fd], 0, `fd ${fd} is signalled after it was closed`),
    close: (fd: number) => words.fill(1, SEEN.closed + fd, SEEN.closed + fd + 1),
  };
}

function memory(agents: 1 | 2): WindowMemory {
  const board = boardMemory(agents);
  leadToDoorbell(board); // a vector of before has the page
  return { ...board, seen: new SharedArrayBuffer(128) };
}

/** Sends MSIs with its own number as data. */
function device(board: WindowMemory, agent: 0 | 1, messages: number): void {
  const dma = port(board, agent);
  const words = new Int32Array(board.seen);
  for (let i = 0; i < messages; i++) if (dma.write32(VPN, 0, agent)) words[SEEN.sent + agent]!++;
  dma.idle();
}

const CAPABILITY = { at: 0x40, is64: false, maxVectors: 1 };
const noConfigSpace = { readConfig: () => 0, writeConfig: () => undefined } as unknown as PciAccess;

/** The MSI of each of so many devices in the domain, enabled and routed to an eventfd. */
function enabled(board: WindowMemory, devices: number): Msi[] {
  const { commands } = kernel(board);
  const { donatedWindow } = domainWithWindow(board);
  const sources = eventfdSources(board.doorbells);
  const vectors = new VectorAllocator(8);
  return Array.from({ length: devices }, (_, i) => {
    const msi = new Msi(
      new MsiHardware(noConfigSpace, CAPABILITY),
      {
        doorbells: new DoorbellTable(board.doorbells),
        vectors,
        doorbell: {
          acquire: () => donatedWindow!.acquire(DOORBELL_PFN) * 4096,
          release: () => donatedWindow!.release(DOORBELL_PFN),
        },
        fence: () => commands.fence(),
      },
      false,
    );
    msi.enable(1);
    msi.setBlock(0, [FIRST_FD + i], (fd) => new EventTrigger(sources, fd));
    return msi;
  });
}

const arrived = (board: WindowMemory): number => {
  const table = new DoorbellTable(board.doorbells);
  return [0, 1].reduce((sum, vector) => sum + table.raised(vector) + table.dropped(vector), 0);
};

/** The only vector goes, and the page with it: from then on MSIs are refused. */
export const lastVector = defineScenario<WindowMemory>({
  file: import.meta.url,
  name: 'last-vector',
  memory: () => memory(1),
  libc,
  names,
  actors: {
    device: (board) => device(board, 0, 2),
    kernel: (board) => {
      const [msi] = enabled(board, 1);
      msi!.disable();
      new Int32Array(board.seen)[SEEN.arrived] = arrived(board);
    },
  },
  check: (board) => {
    const seen = new Int32Array(board.seen);
    assert.equal(arrived(board), seen[SEEN.arrived], 'no MSI arrives through a page that is gone');
    assert.equal(arrived(board), seen[SEEN.sent], 'each MSI that was let through has arrived');
  },
});

/** One of two vectors goes while the other device sends: that one never notices. */
export const sharedPage = defineScenario<WindowMemory>({
  file: import.meta.url,
  name: 'shared-page',
  memory: () => memory(2),
  libc,
  names,
  actors: {
    device: (board) => device(board, 1, 2),
    kernel: (board) => enabled(board, 2)[0]!.disable(),
  },
  check: (board) => {
    assert.equal(new Int32Array(board.seen)[SEEN.sent + 1], 2, 'no MSI of the other device is refused');
    assert.equal(arrived(board), 2, 'each has arrived');
  },
});
