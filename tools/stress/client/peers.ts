/**
 * The peers: a client with two containers, in each of which a device writes to the memory of the
 * other one's device (P2P-3…P2P-10). Targets are disabled, closed and reset under DMA, and the
 * client execs. The IOMMU is one to which users donate a window for MSIs (RSV-1…8).
 */
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_PCI_MSI_IRQ_INDEX,
} from '../../../iommu/abi/vfio.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Mapping } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { resetDevice } from '../../../vmm/client/device.ts';
import { donateMsiWindow } from '../../../vmm/client/dma.ts';
import { armIrqs } from '../../../vmm/client/irqs.ts';
import { programPath } from '../../launch/programs.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import { Random, type RandomState } from '../random.ts';
import { type Assignment, MEMORY_FD } from './assignment.ts';
import { Caller } from './caller.ts';
import { execWith } from './exec-image.ts';
import { InterruptLedger } from './interrupt-ledger.ts';
import { acquireDevice } from './opening.ts';
import { PeerSide, type SideState, TARGET_PAGES } from './peer-side.ts';
import { Questions, refusals } from './questions.ts';

/** The next image of the peers. */
export const PEERS_FLAG = '--peers';

const RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
/** In pages. Each side's RAM is one page to copy from and one to copy to. */
const RAM_VPN = 0x1000;
const RAM_PAGES = 2;
const PEER_VPN = 0x2000;
const GRABBER_VPN = 0x3000;
const WINDOW = { iova: 0x0800_0000, size: 0x10_0000 };
const WINDOW_PAGES = WINDOW.size / PAGE_SIZE;
const MOST_BYTES = 4096;
const CAPTURE_ID = 0xca970100;
const NR_RESETS = 4;

export interface PeersState {
  readonly random: RandomState;
  readonly sides: readonly SideState[];
}

export class Peers {
  readonly #assignment: Assignment;
  readonly #log: EventLog;
  readonly #caller: Caller;
  readonly #questions: Questions;
  readonly #random: Random;
  readonly #ram: Mapping;
  readonly #sides: readonly [PeerSide, PeerSide];
  /** Of the edu of a side that has a window. */
  readonly #ledgers = new Map<PeerSide, InterruptLedger>();

  constructor(assignment: Assignment, log: EventLog, state?: PeersState) {
    this.#assignment = assignment;
    this.#log = log;
    this.#caller = new Caller(assignment.socketPath, log);
    this.#questions = new Questions(this.#caller);
    this.#random = state ? new Random(state.random) : Random.of(...assignment.seed);
    this.#ram = new Mapping(MEMORY_FD, 2 * RAM_PAGES * PAGE_SIZE);
    const { devices } = assignment;
    const side = (i: 0 | 1): PeerSide =>
      new PeerSide(this.#caller, i === 0 ? devices.slice(0, 2) : devices.slice(2), state?.sides[i]);
    this.#sides = [side(0), side(1)];
    if (state) return;
    for (const one of this.#sides) {
      one.container.map({ vpn: RAM_VPN, nrPages: RAM_PAGES, vaddr: this.#ramOf(one).vaddr, flags: RW }, [0]);
    }
    this.#mapGrabber();
  }

  step(): void {
    const random = this.#random;
    const side = random.pick(this.#sides)!;
    if (this.#assignment.inject === 'hidden-peer-unmap') this.#forgetUnmap(side);
    random.weighted<() => void>([
      [30, () => this.#put(side)],
      [15, () => this.#get(side)],
      [12, () => this.#map(side)],
      [8, () => this.#unmap(side)],
      [10, () => this.#toggle(side)],
      [5, () => this.#reopen([side])],
      [3, () => this.#reopen(this.#sides)],
      [6, () => this.#donate(side)],
      [6, () => this.#interrupt(side)],
      [4, () => this.#resetStorm()],
      [8, () => side.check()],
      [6, () => this.#count(side)],
    ])();
    this.#log.beat();
  }

  #otherOf(side: PeerSide): PeerSide {
    return this.#sides[side === this.#sides[0] ? 1 : 0];
  }

  #ramOf(side: PeerSide): { readonly bytes: Uint8Array; readonly vaddr: number } {
    const at = side === this.#sides[0] ? 0 : RAM_PAGES * PAGE_SIZE;
    return { bytes: new Uint8Array(this.#ram.buffer, at, RAM_PAGES * PAGE_SIZE), vaddr: this.#ram.vaddr + at };
  }

  /** Whether DMA of this side reaches the other one's target. */
  #reaches(side: PeerSide): boolean {
    return side.isMapped && !side.isRevoked && this.#otherOf(side).isOn;
  }

  #refusals(side: PeerSide): number {
    return refusals(this.#questions.device(side.devices[0]!.bdf));
  }

  #copy(side: PeerSide, source: number, destination: number, length: number): void {
    const before = this.#refusals(side);
    side.edu.copy({ source, destination, length, interrupts: false });
    const refused = this.#refusals(side) - before;
    if (refused > 0 !== !this.#reaches(side)) {
      throw new Violation(
        '2',
        `edu: ${refused} accesses were refused, its peer ${this.#reaches(side) ? 'answers' : 'does not'}`,
      );
    }
    this.#log.count('transfers');
  }

  /** Copies from RAM to the other side's target. */
  #put(side: PeerSide): void {
    const length = this.#random.between(1, MOST_BYTES);
    const offset = this.#random.below(TARGET_PAGES * PAGE_SIZE - length);
    const bytes = this.#random.bytes(length);
    this.#log.event(`put ${length} bytes at ${offset} of ${this.#otherOf(side).targetDevice.bdf}`);
    this.#ramOf(side).bytes.set(bytes);
    this.#copy(side, RAM_VPN * PAGE_SIZE, PEER_VPN * PAGE_SIZE + offset, length);
    if (this.#reaches(side)) this.#otherOf(side).content.set(bytes, offset);
  }

  /** Copies from the other side's target to RAM. What is refused reads as zeros. */
  #get(side: PeerSide): void {
    const length = this.#random.between(1, MOST_BYTES);
    const offset = this.#random.below(TARGET_PAGES * PAGE_SIZE - length);
    const { bytes } = this.#ramOf(side);
    this.#log.event(`get ${length} bytes at ${offset} of ${this.#otherOf(side).targetDevice.bdf}`);
    bytes.fill(0xa5, PAGE_SIZE);
    this.#copy(side, PEER_VPN * PAGE_SIZE + offset, (RAM_VPN + 1) * PAGE_SIZE, length);
    const expected = this.#reaches(side) ? this.#otherOf(side).content.subarray(offset, offset + length) : undefined;
    const wrong = bytes.subarray(PAGE_SIZE, PAGE_SIZE + length).findIndex((byte, i) => byte !== (expected?.[i] ?? 0));
    if (wrong >= 0) throw new Violation('2', `edu has read from its peer, and byte ${wrong} is wrong`);
  }

  #map(side: PeerSide): void {
    const other = this.#otherOf(side);
    if (other.target === undefined) return;
    const vaddr = other.mmap();
    const expected = side.isMapped ? 'EEXIST' : other.isOn ? 0 : 'EFAULT';
    const answer = side.container.map({ vpn: PEER_VPN, nrPages: TARGET_PAGES, vaddr, flags: RW }, [expected]);
    if (answer === 0) {
      side.isMapped = true;
      side.isRevoked = false;
      this.#log.count('maps');
    }
    other.munmap(vaddr); // the entry stays (P2P-3)
  }

  #unmap(side: PeerSide): void {
    side.container.unmap({ vpn: PEER_VPN, nrPages: TARGET_PAGES, flags: 0 }, [side.isMapped ? TARGET_PAGES : 0]);
    side.isMapped = false;
    side.isRevoked = false;
    this.#log.count('unmaps');
  }

  #toggle(side: PeerSide): void {
    if (side.target === undefined) return;
    side.switch(!side.isOn);
    if (!side.isOn && this.#assignment.peerMappings === 'revoked') this.#otherOf(side).isRevoked = true;
  }

  /** Closes the targets of these sides, at once, or opens them when they are closed. */
  #reopen(sides: readonly PeerSide[]): void {
    const open = sides.filter(({ target }) => target !== undefined);
    this.#log.event(`close ${open.map(({ targetDevice }) => targetDevice.bdf).join(' and ')}`);
    for (const { target } of open.slice(1)) close(target!);
    const [first] = open;
    if (first) this.#caller.must('close', (client) => client.close(first.target!));
    for (const side of open) this.#closed(side);
    for (const side of sides) if (!open.includes(side)) this.#open(side);
  }

  #closed(side: PeerSide): void {
    const other = this.#otherOf(side);
    side.target = undefined;
    side.isOn = true; // as it was before it was opened
    if (this.#assignment.peerMappings === 'closed') other.isMapped = false;
    if (this.#assignment.peerMappings === 'revoked') other.isRevoked = true;
  }

  #open(side: PeerSide): void {
    side.target = acquireDevice(this.#caller, side.files.groups[1]!, side.targetDevice);
    side.switch(true);
  }

  /** A deliberate defect, as soon as it can be committed. */
  #forgetUnmap(side: PeerSide): void {
    if (!this.#reaches(side)) return;
    side.container.unmap({ vpn: PEER_VPN, nrPages: TARGET_PAGES, flags: 0 }, [TARGET_PAGES]);
    this.#put(side);
  }

  /** A window can be donated once, and nothing can be mapped over it (RSV-4, RSV-5). */
  #donate(side: PeerSide): void {
    const { fd } = side.container;
    const msi = (text: string, expected: string | number): void =>
      void this.#caller.expect(text, expected, (client) =>
        armIrqs(client, side.edu.file.fd, VFIO_PCI_MSI_IRQ_INDEX, [-1]),
      );
    if (!side.hasWindow) msi('MSI without a window', 'EINVAL');
    const expected = side.hasWindow ? ['EINVAL', 'EEXIST'] : [0];
    this.#caller.expect('donate a window', expected, (client) => donateMsiWindow(client, fd, WINDOW));
    side.hasWindow = true;
    const { vaddr } = this.#ramOf(side);
    side.container.map({ vpn: WINDOW.iova / PAGE_SIZE + 1, nrPages: 1, vaddr, flags: RW }, ['EEXIST']);
    side.container.unmap({ vpn: WINDOW.iova / PAGE_SIZE, nrPages: WINDOW_PAGES, flags: 0 }, [0]);
  }

  /** MSIs go through the window, and none is lost (invariant 4). */
  #interrupt(side: PeerSide): void {
    if (!side.hasWindow) return;
    const { bdf } = side.devices[0]!;
    const ledger = this.#ledgers.get(side) ?? new InterruptLedger(side.edu.file, this.#questions.device(bdf));
    this.#ledgers.set(side, ledger);
    const [from, to] = [RAM_VPN * PAGE_SIZE, (RAM_VPN + 1) * PAGE_SIZE];
    side.edu.copy({ source: from, destination: to, length: 64, interrupts: true });
    if (this.#random.chance(0.3)) ledger.routeTo(ledger.route === 'eventfd' ? 'off' : 'eventfd');
    this.#log.count('interrupts', ledger.settle(this.#questions.device(bdf)));
  }

  /** The grabber of side 1 is mapped for edu of side 0: its registers answer DMA. */
  #mapGrabber(): void {
    const [side, other] = this.#sides;
    const fd = other.files.devices[2]!;
    const how = { fd, offset: 0, length: PAGE_SIZE, prot: 3, flags: 1 };
    const vaddr = this.#caller.must('mmap capture', (client) => client.mmap(how));
    side.container.map({ vpn: GRABBER_VPN, nrPages: 1, vaddr, flags: RW }, [0]);
    this.#caller.must('munmap', (client) => client.munmap(vaddr, PAGE_SIZE));
  }

  /** Resets a device while another one reads its registers by DMA. */
  #resetStorm(): void {
    const [side, other] = this.#sides;
    const grabber = other.files.devices[2]!;
    const [source, destination] = [GRABBER_VPN * PAGE_SIZE, (RAM_VPN + 1) * PAGE_SIZE];
    side.edu.during({ source, destination, length: PAGE_SIZE, interrupts: false }, () => {
      for (let times = 0; times < NR_RESETS; times++) {
        this.#caller.must('reset capture', (client) => resetDevice(client, grabber));
      }
    });
    if (this.#assignment.peerMappings === 'revoked') {
      side.container.unmap({ vpn: GRABBER_VPN, nrPages: 1, flags: 0 }, [1]);
      this.#mapGrabber();
    }
    side.edu.copy({ source, destination, length: 4, interrupts: false });
    const { bytes } = this.#ramOf(side);
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(PAGE_SIZE, true);
    if (id !== CAPTURE_ID) throw new Violation('2', `capture's id is ${id.toString(16)} by DMA, after its resets`);
  }

  #count(side: PeerSide): void {
    const { groups, containers } = this.#questions.info();
    const id = groups.find(({ group }) => group === side.devices[0]!.group)!.container;
    const found = containers.find((one) => one.id === id)!;
    const grabber = side === this.#sides[0] ? 1 : 0;
    const { isMapped, isRevoked, hasWindow } = side;
    const sum = (of: { ram: number; peer: number; window: number }): number =>
      of.ram + grabber + (isMapped ? of.peer : 0) + (hasWindow ? of.window : 0);
    const entries = sum({ ram: 1, peer: 1, window: 1 });
    const { dmaAvail } = side.container.facts();
    const pages = sum({ ram: RAM_PAGES, peer: TARGET_PAGES, window: WINDOW_PAGES });
    const is = [found.mappings, found.mappedBytes / PAGE_SIZE, dmaAvail + entries, found.invalidVaddrs];
    const expected = [entries, pages, this.#assignment.entryLimit, 0];
    if (is.join() === expected.join()) return void this.#log.count('countsChecked');
    throw new Violation(
      '3',
      `entries, pages, limit, invalid: ${is.join()}, not ${expected.join()} (revoked: ${isRevoked})`,
    );
  }

  /**
   * Execs: all vaddrs become invalid, and the next image makes them valid. Not while a target is
   * closed.
   */
  exec(): void {
    if (this.#sides.some(({ target }) => target === undefined)) return;
    for (const side of this.#sides) {
      this.#ledgers.get(side)?.close();
      const flags = VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL;
      const grabber = side === this.#sides[0] ? 1 : 0;
      const pages = RAM_PAGES + grabber + (side.isMapped ? TARGET_PAGES : 0);
      side.container.unmap({ vpn: 0, nrPages: 0, flags }, [pages]);
    }
    const state: PeersState = { random: this.#random.save(), sides: this.#sides.map((side) => side.save()) };
    execWith(
      this.#log,
      { assignment: this.#assignment, state },
      this.#sides.flatMap((side) => side.fds()),
      {
        program: process.execPath,
        words: [programPath('stress-client')],
        flag: PEERS_FLAG,
      },
    );
  }

  /** Gives each mapping its vaddr in this image. DMA has gone on meanwhile. */
  arrive(): void {
    this.#log.count('execs');
    for (const side of this.#sides) this.#put(side);
    const flags = VFIO_DMA_MAP_FLAG_VADDR;
    for (const side of this.#sides) {
      const { vaddr } = this.#ramOf(side);
      side.container.map({ vpn: RAM_VPN, nrPages: RAM_PAGES, vaddr, flags }, [0]);
      if (side.isMapped) {
        const bar = this.#otherOf(side).mmap();
        side.container.map({ vpn: PEER_VPN, nrPages: TARGET_PAGES, vaddr: bar, flags }, [0]);
        this.#otherOf(side).munmap(bar);
      }
      if (side === this.#sides[0]) side.container.map({ vpn: GRABBER_VPN, nrPages: 1, vaddr, flags }, [0]);
      this.#count(side);
      this.#otherOf(side).check();
    }
  }
}
