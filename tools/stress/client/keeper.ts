/**
 * The keeper: a client whose memory, page tables and perhaps mappings outlive the host's kernel
 * (PKF-1…7). The shard replaces the kernel at any moment, and every client ends with it. The next
 * keeper finds all that the one before had: mappings that had been made are there, those that had
 * been removed are not, the one under way is or is not. The device has gone on.
 */

import { VFIO_DMA_MAP_FLAG_LIVE_UPDATE } from '../../../iommu/abi/persistent-tables.ts';
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_VADDR, VFIO_DMA_MAP_FLAG_WRITE } from '../../../iommu/abi/vfio.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { readFrame } from '../../../vmm/client/drivers/capture.ts';
import { type EventLog, PHASE } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import { Random } from '../random.ts';
import type { Assignment } from './assignment.ts';
import { type Answer, Caller } from './caller.ts';
import { ContainerCalls } from './container.ts';
import { Copier } from './copier.ts';
import { DeviceFile } from './device-file.ts';
import { GuardedMemory } from './guarded-memory.ts';
import { KEPT_PAGES, openContainer, openMemory } from './keeper-files.ts';
import { type KeeperState, KeeperStore, type Kept, type Pending } from './keeper-state.ts';
import { Questions, refusals } from './questions.ts';
import { type RingPlan, RingWatch } from './ring-watch.ts';
import { mapView } from './views.ts';

const MOST_ENTRIES = 12;
const MOST_PAGES = 24;
const FRAME_BYTES = 512;
const PATIENCE_NS = 20e9;
/** How long the kernel may take to go down when the keeper waits for that. */
const KERNEL_END_MS = 60_000;

type Interrupts = { sentBefore: number; counted: number };

const protOf = ({ write }: Kept): number => VFIO_DMA_MAP_FLAG_READ | (write ? VFIO_DMA_MAP_FLAG_WRITE : 0);
const overlaps = (a: Kept, b: Kept): boolean => a.vpn < b.vpn + b.nrPages && b.vpn < a.vpn + a.nrPages;

export class Keeper {
  readonly #assignment: Assignment;
  readonly #log: EventLog;
  readonly #caller: Caller;
  readonly #questions: Questions;
  readonly #random: Random;
  readonly #store = new KeeperStore();
  readonly #kexecs: number;
  readonly #withEntries: boolean;
  readonly #memory: GuardedMemory;
  readonly #vaddr: number;
  readonly #container: ContainerCalls;
  readonly #capture: RingWatch;
  readonly #edu: Copier;
  readonly #eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  #entries: Kept[];
  #interrupts: Interrupts | null;

  constructor(assignment: Assignment, log: EventLog) {
    this.#assignment = assignment;
    this.#log = log;
    this.#caller = new Caller(assignment.socketPath, log);
    this.#questions = new Questions(this.#caller);
    this.#kexecs = this.#questions.info().kernel.kexecs;
    const left = this.#store.load();
    // Without a kexec the kernel has released everything with the keeper before.
    const state = left && left.kexecs + 1 === this.#kexecs ? left : undefined;
    this.#random = state ? new Random(state.random) : Random.of(...assignment.seed);
    this.#withEntries = state?.withEntries ?? this.#random.chance(0.5);
    this.#entries = [...(state?.entries ?? [])];
    const fd = openMemory(this.#caller);
    if (state?.ring) this.#seeFrames(new GuardedMemory(fd, KEPT_PAGES, state.guard), state);
    const files = openContainer(this.#caller, assignment.devices, this.#withEntries);
    // without a state no device of a former keeper writes there any more
    this.#memory = new GuardedMemory(fd, KEPT_PAGES, state?.guard);
    this.#vaddr = mapView(fd, KEPT_PAGES, true).vaddr;
    this.#container = new ContainerCalls(this.#caller, files.container);
    const [edu, capture] = files.devices as [number, number];
    this.#edu = new Copier(new DeviceFile(this.#caller, edu, 'edu'), log);
    const watched = { ring: state?.ring ?? undefined, clean: true, intactFrom: 0 };
    this.#capture = new RingWatch(new DeviceFile(this.#caller, capture, 'capture'), watched);
    this.#interrupts = state?.interrupts ?? null;
    if (state) this.#arrive(state);
    this.#edu.file.enable();
    this.#capture.file.enable();
    this.#capture.file.routeMsi(this.#eventfd);
    this.#settleInterrupts();
    this.#save();
  }

  step(): void {
    this.#random.weighted<() => void>([
      [30, () => this.#map()],
      [15, () => this.#unmap()],
      [15, () => this.#copy()],
      [10, () => this.#startRing()],
      [10, () => this.#checkRing()],
      [5, () => this.#settleInterrupts()],
      [8, () => this.#count()],
      [10, () => void this.#log.count('pagesChecked', this.#memory.check())],
    ])();
    this.#log.beat();
  }

  /**
   * Takes the device's interrupts out of the eventfd, so that all that come from here on pend in
   * the host, and waits for the kernel's end.
   */
  park(): never {
    if (!this.#capture.ring) this.#startRing();
    this.#capture.file.routeMsi(-1);
    this.#collect();
    if (this.#assignment.inject === 'hidden-keeper-unmap') this.#forgetUnmap();
    if (this.#assignment.inject === 'drop-held-interrupt') {
      this.#questions.dropInterrupt(this.#assignment.devices[1]!.bdf);
    }
    this.#save(null, this.#interrupts);
    this.#log.event('waits for the kernel’s end');
    this.#log.enter(PHASE.parked);
    this.#caller.client.awaitHangUp(KERNEL_END_MS);
    process.exit(0);
  }

  /** A deliberate defect: nobody will know of it but the next kernel. */
  #forgetUnmap(): void {
    const entry = this.#entries.find(({ vpn }) => vpn * PAGE_SIZE !== this.#capture.ring?.iova);
    if (entry) this.#container.unmap({ ...entry, flags: 0 }, [entry.nrPages]);
  }

  #save(pending: Pending | null = null, interrupts: Interrupts | null = null): void {
    this.#store.save({
      kexecs: this.#kexecs,
      withEntries: this.#withEntries,
      random: this.#random.save(),
      entries: this.#entries,
      pending,
      guard: this.#memory.save(),
      ring: this.#capture.ring ?? null,
      interrupts,
    });
  }

  /** After a kexec, before anybody has asked for the device: it fills its ring (invariant 2). */
  #seeFrames(memory: GuardedMemory, { ring, entries }: KeeperState): void {
    const { iova, frames } = ring!;
    const home = entries.find(({ vpn, nrPages }) => iova >= vpn * PAGE_SIZE && iova < (vpn + nrPages) * PAGE_SIZE)!;
    const at = home.page * PAGE_SIZE + iova - home.vpn * PAGE_SIZE;
    const newest = (): number =>
      Math.max(
        ...Array.from({ length: frames }, (_, i) => {
          const frame = memory.bytes.slice(at + i * FRAME_BYTES, at + (i + 1) * FRAME_BYTES);
          const { sequence, isWhole } = readFrame(frame);
          return isWhole ? sequence : 0;
        }),
      );
    const deadline = monotonicNs() + PATIENCE_NS;
    for (const before = newest(); newest() <= before; ) {
      if (this.#log.beat() > deadline) throw new Violation('2', `capture stands at frame ${before} since the kexec`);
    }
  }

  /** What an earlier kernel has left is what the state says. */
  #arrive({ pending }: KeeperState): void {
    this.#log.event(`kernel ${this.#kexecs}: ${this.#entries.length} mappings are to be there`);
    this.#log.count('kexecs');
    const removed = pending?.call === 'UNMAP_DMA' ? pending.entry.vpn : undefined;
    if (!this.#withEntries) this.#claimWrongly(removed);
    for (const entry of this.#entries) {
      const answer = this.#claim(entry);
      if (answer === 0) continue;
      if (entry.vpn !== removed) {
        throw new Violation('2', `the kexec has lost the mapping of iova page ${entry.vpn}: ${answer}`);
      }
      this.#drop(entry); // UNMAP_DMA had been carried out
    }
    if (pending?.call === 'MAP_DMA' && this.#claim(pending.entry) === 0) this.#add(pending.entry);
    const { writes } = this.#questions.ptesSince(0);
    const mine = writes.filter(({ pid }) => pid === process.pid).length;
    if (mine > 0) throw new Violation('2', `${mine} page-table writes while mappings were taken over`);
    this.#capture.checkFaults();
    if (!this.#capture.ring) this.#capture.stop(); // it was started, and that was not noted yet
    this.#memory.check();
    this.#count();
  }

  /** Takes a mapping over. ENOENT: it is not there. */
  #claim(entry: Kept): Answer {
    const flags = this.#withEntries ? VFIO_DMA_MAP_FLAG_VADDR : VFIO_DMA_MAP_FLAG_LIVE_UPDATE | protOf(entry);
    const vaddr = this.#vaddr + entry.page * PAGE_SIZE;
    const answer = this.#container.map({ ...entry, vaddr, flags }, [0, 'ENOENT']);
    this.#log.count('claims');
    return answer;
  }

  /** Strict mode compares: other memory, other rights and a part of a mapping are refused. */
  #claimWrongly(removed: number | undefined): void {
    const entry = this.#random.pick(this.#entries.filter(({ vpn, page }) => vpn !== removed && page > 0));
    if (!entry) return;
    const LIVE = VFIO_DMA_MAP_FLAG_LIVE_UPDATE;
    const vaddr = this.#vaddr + entry.page * PAGE_SIZE;
    const other = { ...entry, write: !entry.write };
    const wrong = { ...entry, vaddr: vaddr - PAGE_SIZE, flags: LIVE | protOf(entry) };
    this.#container.map(wrong, ['ESTALE']);
    this.#container.map({ ...entry, vaddr, flags: LIVE | protOf(other) }, ['EACCES']);
    this.#container.map({ ...entry, vaddr, flags: protOf(entry) }, ['EEXIST']);
  }

  #add(entry: Kept): void {
    if (entry.write) this.#memory.open(entry.page, entry.page + entry.nrPages);
    this.#entries.push(entry);
  }

  #drop(entry: Kept): void {
    this.#entries = this.#entries.filter((one) => one !== entry);
    if (entry.write) this.#memory.close(entry.page, entry.page + entry.nrPages);
  }

  #map(): void {
    const random = this.#random;
    if (this.#entries.length >= MOST_ENTRIES) return;
    const nrPages = random.between(1, MOST_PAGES);
    const { firstVpn } = this.#assignment.window;
    const vpn = firstVpn + random.below(KEPT_PAGES);
    const entry: Kept = { vpn, nrPages, page: random.below(KEPT_PAGES - nrPages), write: random.chance(0.7) };
    const expected = this.#entries.some((other) => overlaps(entry, other)) ? 'EEXIST' : 0;
    if (expected === 0) this.#save({ call: 'MAP_DMA', entry });
    const vaddr = this.#vaddr + entry.page * PAGE_SIZE;
    this.#container.map({ ...entry, vaddr, flags: protOf(entry) }, [expected]);
    if (expected !== 0) return;
    this.#add(entry); // no device was told of it yet
    this.#log.count('maps');
    this.#save();
  }

  #unmap(): void {
    const entry = this.#random.pick(this.#entries);
    if (!entry) return;
    const { vpn, nrPages } = entry;
    if (this.#capture.touches(vpn * PAGE_SIZE, (vpn + nrPages) * PAGE_SIZE)) this.#stopRing();
    this.#save({ call: 'UNMAP_DMA', entry });
    this.#container.unmap({ vpn, nrPages, flags: 0 }, [nrPages]);
    this.#drop(entry);
    this.#log.count('unmaps');
    this.#save();
  }

  #stopRing(): void {
    const ring = this.#capture.ring;
    if (!ring) return;
    this.#capture.forget();
    this.#save(); // from here on nobody relies on the ring
    this.#capture.stop();
  }

  #startRing(): void {
    const home = this.#random.pick(this.#entries.filter(({ write }) => write));
    this.#stopRing();
    if (!home) return;
    const frames = 2 ** this.#random.between(1, 3);
    const ring: RingPlan = {
      ...{ iova: home.vpn * PAGE_SIZE, frames, frameSize: FRAME_BYTES },
      ...{ rate: this.#random.between(200, 2000), irqEvery: this.#random.between(1, 4) },
    };
    this.#capture.start(ring, true);
    while (this.#capture.writeIndex() === 0) this.#log.beat();
    this.#save();
  }

  #checkRing(): void {
    if (!this.#capture.ring) return;
    const before = this.#capture.writeIndex();
    const deadline = monotonicNs() + PATIENCE_NS;
    while (this.#capture.writeIndex() === before) {
      if (this.#log.beat() > deadline) throw new Violation('2', `capture stands at frame ${before}`);
    }
    this.#capture.checkFaults();
    this.#log.count('frames');
  }

  /** edu copies from one mapping to another one. */
  #copy(): void {
    const random = this.#random;
    const { ring } = this.#capture;
    const quiet = this.#entries.filter(
      ({ vpn, nrPages }) => !this.#capture.touches(vpn * PAGE_SIZE, (vpn + nrPages) * PAGE_SIZE),
    );
    const from = random.pick(quiet);
    const to = random.pick(quiet.filter(({ write }) => write));
    if (!from || !to || (ring && this.#sharesPages(from, to))) return;
    const length = random.between(1, PAGE_SIZE);
    const bdf = this.#assignment.devices[0]!.bdf;
    const before = refusals(this.#questions.device(bdf));
    this.#edu.copy({ source: from.vpn * PAGE_SIZE, destination: to.vpn * PAGE_SIZE, length, interrupts: false });
    const refused = refusals(this.#questions.device(bdf)) - before;
    if (refused > 0) throw new Violation('2', `edu: ${refused} accesses to mapped memory were refused`);
    const bytesAt = ({ page }: Kept): Buffer =>
      Buffer.from(this.#memory.bytes.slice(page * PAGE_SIZE, page * PAGE_SIZE + length));
    if (!bytesAt(from).equals(bytesAt(to))) throw new Violation('2', 'edu has copied, and the copy is not the same');
    this.#log.count('transfers');
  }

  /** Whether the ring writes to the memory of one of these mappings by another iova. */
  #sharesPages(...some: readonly Kept[]): boolean {
    const { iova } = this.#capture.ring!;
    const home = this.#entries.find(({ vpn }) => vpn * PAGE_SIZE === iova)!;
    const meets = ({ page, nrPages }: Kept): boolean => page < home.page + home.nrPages && home.page < page + nrPages;
    return some.some(meets);
  }

  #collect(): void {
    if (this.#interrupts) this.#interrupts.counted += eventfdRead(this.#eventfd);
  }

  /**
   * Each interrupt that the capture has sent was taken from an eventfd once, also those that pended
   * over a kexec (invariant 4). Afterwards the ring is gone, and a new sum begins.
   */
  #settleInterrupts(): void {
    this.#stopRing();
    const { bdf } = this.#assignment.devices[1]!;
    const sent = this.#questions.device(bdf).interruptsSent;
    this.#collect();
    const interrupts = this.#interrupts;
    if (interrupts && sent - interrupts.sentBefore !== interrupts.counted) {
      const were = sent - interrupts.sentBefore;
      throw new Violation('4', `capture: ${were} interrupts sent, ${interrupts.counted} counted`);
    }
    if (interrupts) this.#log.count('interrupts', interrupts.counted);
    else eventfdRead(this.#eventfd);
    this.#interrupts = { sentBefore: sent, counted: 0 };
  }

  #count(): void {
    const info = this.#questions.info();
    const id = info.groups.find(({ group }) => group === this.#assignment.devices[0]!.group)!.container;
    const found = info.containers.find((one) => one.id === id)!;
    const pages = this.#entries.reduce((sum, { nrPages }) => sum + nrPages, 0);
    const { dmaAvail } = this.#container.facts();
    const is = [found.mappings, found.mappedBytes / PAGE_SIZE, dmaAvail + this.#entries.length, found.invalidVaddrs];
    const expected = [this.#entries.length, pages, this.#assignment.entryLimit, 0];
    if (is.join() !== expected.join()) {
      throw new Violation('3', `entries, pages, limit, invalid: ${is.join()}, not ${expected.join()}`);
    }
    this.#log.count('countsChecked');
  }
}
