/**
 * The deliberate defects that a mapper commits itself. Each makes a ring busy, does one thing
 * wrong, and then makes the check that must notice it.
 */
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from '../../../iommu/abi/vfio.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { Defect } from '../defects.ts';
import { execBadly } from './bad-successor.ts';
import { checkCounts, settleInterrupts } from './checks.ts';
import { checkRing } from './dma-actions.ts';
import { execImage } from './exec-image.ts';
import { unmapEntries } from './mapping-actions.ts';
import type { Entry } from './mapping-table.ts';
import type { Session } from './session.ts';

const NR_PAGES = 16;
const RATE = 5000;
const PATIENCE_NS = 20e9;

/** Unmaps everything, then maps one ring that the capture fills. */
function makeBusyRing(session: Session): Entry {
  const { container, table, memory, accounting, capture, views, image, assignment } = session;
  unmapEntries(session, { vpn: 0, nrPages: 0, flags: VFIO_DMA_UNMAP_FLAG_ALL }, table.entries);
  const vaddr = views.find(({ writable }) => writable)!.vaddr;
  const rights = { read: true, write: true, invalid: false, image };
  const entry: Entry = { vpn: assignment.window.firstVpn, nrPages: NR_PAGES, page: 0, vaddr, ...rights };
  memory.open(0, NR_PAGES);
  container.map({ ...entry, flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE }, [0]);
  table.add(entry);
  accounting.mapped(entry);
  session.ledgers.capture.routeTo('eventfd');
  capture.start({ iova: entry.vpn * PAGE_SIZE, frames: NR_PAGES, frameSize: PAGE_SIZE, rate: RATE, irqEvery: 1 }, true);
  untilFrames(session, NR_PAGES);
  return entry;
}

function untilFrames({ capture, log }: Session, more: number): void {
  const from = capture.writeIndex();
  while (capture.writeIndex() - from < more) log.beat();
}

/** Repeats the check until it throws or time is up. */
function watch({ log }: Session, look: () => void): void {
  const deadline = monotonicNs() + PATIENCE_NS;
  while (log.beat() < deadline) look();
}

/** The shard, the peers and the keeper do the others. */
type OfMapper = Exclude<Defect, 'kill-host' | 'hidden-peer-unmap' | 'hidden-keeper-unmap' | 'drop-held-interrupt'>;

const isOfMapper = (defect: Defect): defect is OfMapper => Object.hasOwn(DOINGS, defect);

const DOINGS: Readonly<Record<OfMapper, (session: Session, entry: Entry) => void>> = {
  'keep-mapping': (session, entry) => {
    const { table, accounting, memory, log } = session;
    log.event('unmaps nothing, and says it did');
    table.remove(entry);
    accounting.unmapped(entry);
    memory.close(0, NR_PAGES);
    watch(session, () => memory.check());
  },
  'hidden-unmap': (session, { vpn, nrPages }) => {
    session.container.unmap({ vpn, nrPages, flags: 0 }, [nrPages]);
    watch(session, () => checkRing(session));
  },
  'forget-invalid': (session, { vpn, nrPages }) => {
    session.container.unmap({ vpn, nrPages, flags: VFIO_DMA_UNMAP_FLAG_VADDR }, [nrPages]);
    checkCounts(session);
  },
  'drop-interrupt': (session) => {
    session.questions.dropInterrupt(session.captureDevice.bdf);
    untilFrames(session, NR_PAGES);
    settleInterrupts(session);
  },
  'deaf-guardian': (session) => execBadly(session, { deaf: true }),
  'bad-image': (session) => execImage(session, { program: process.execPath, words: ['-e', '', '--'] }),
};

/** Commits the defect. Returns only when no check has noticed it. */
export function commit(session: Session, defect: Defect): void {
  if (!isOfMapper(defect)) return;
  DOINGS[defect](session, makeBusyRing(session));
}
