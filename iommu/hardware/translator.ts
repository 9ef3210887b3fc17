/**
 * The translation side of one DMA port: epoch, device-context cache, IOTLB, walks, fault records.
 * It lives in the device worker's thread and shares with other threads nothing but the unit's
 * memory.
 */

import { PortCounters } from '../bus/counters.ts';
import type { PhysicalMemory } from '../bus/physical.ts';
import { BARE, type DeviceContext } from './context.ts';
import { Directory } from './directory.ts';
import { AgentEpoch } from './epoch.ts';
import { emptyFault, FaultQueue, setAddresses } from './fault-queue.ts';
import {
  HAS_ADDRESS,
  HAS_DID,
  HAS_GSCID,
  HAS_PSCID,
  type Invalidation,
  InvalidationReader,
  type InvalidationTarget,
  KIND_DDT,
  KIND_GVMA,
  KIND_VMA,
} from './invalidation.ts';
import { BLOCK_PAGES, Iotlb } from './iotlb.ts';
import type { Wire } from './ipsr.ts';
import { InterruptFiles } from './mrif.ts';
import { TO_INTERRUPT_FILE } from './msi.ts';
import { DDTP_BARE, REG, reportedWithDtf, TTYP_READ, TTYP_WRITE } from './regs.ts';
import { createUnit, registerWord, walkAbilities } from './unit-memory.ts';
import { Walker } from './walk.ts';

const FAULTS = PortCounters.word64.faults;
const UNSUPPORTED = PortCounters.word64.unsupported;
const MISSES = PortCounters.word64.misses;
const INVALIDATIONS = PortCounters.word64.invalidations;

export interface TranslatorOptions {
  /** The IOMMU unit in front. Absent without one: iova = pa. */
  readonly unit?: SharedArrayBuffer;
  /** This worker's number at the unit: no other port may have it. */
  readonly agent: number;
  /** Device id: the function's bdf. */
  readonly did: number;
  readonly physical: PhysicalMemory;
  /** Interrupts of the unit, raised by this port's faults. */
  readonly wire: Wire;
  /** Layout PortCounters. */
  readonly counters: SharedArrayBuffer;
}

/** A private unit that passes everything through, for a device without an IOMMU. */
function passThroughUnit(): SharedArrayBuffer {
  const unit = createUnit({ agents: 1 });
  new Int32Array(unit)[registerWord(REG.ddtp)] = DDTP_BARE;
  return unit;
}

export class Translator implements InvalidationTarget {
  readonly iotlb = new Iotlb();
  readonly #did: number;
  readonly #physical: PhysicalMemory;
  readonly #counters: Float64Array;
  readonly #epoch: AgentEpoch;
  readonly #log: InvalidationReader;
  readonly #directory: Directory;
  readonly #walker: Walker;
  readonly #faults: FaultQueue;
  readonly #files: InterruptFiles;
  readonly #fault = emptyFault();
  /**
   * The device context, cached until an IODIR. All entries of the IOTLB are of this context;
   * without one the IOTLB is empty.
   */
  #context: DeviceContext | undefined;

  constructor(options: TranslatorOptions) {
    const unit = options.unit ?? passThroughUnit();
    const words = new Int32Array(unit);
    this.#did = options.did;
    this.#physical = options.physical;
    this.#counters = new Float64Array(options.counters);
    this.#log = new InvalidationReader(words, this);
    this.#epoch = new AgentEpoch(words, options.unit ? options.agent : 0);
    this.#directory = new Directory(words, options.physical);
    this.#walker = new Walker(options.physical, walkAbilities(words));
    this.#faults = new FaultQueue(words, options.physical, options.wire);
    this.#files = new InterruptFiles(options.physical, this.#faults.messageFault);
    options.physical.onDetach(() => this.iotlb.clear(false)); // an entry must not outlive its range
  }

  /** Begins a transaction. Translations may be used from here to the next begin() or end(). */
  // HOT
  begin(): void {
    if (this.#epoch.begin()) this.#catchUp();
  }

  /** As AgentEpoch.hold. */
  hold(on: boolean): void {
    this.#epoch.hold(on);
  }

  /** No transaction is under way. */
  end(): void {
    this.#epoch.end();
    this.#physical.poll();
  }

  /**
   * Fills the IOTLB for page `vpn`. Returns its entry, or −1 when the access is refused; the
   * refusal is counted and reported (`offset` is for the report). TO_INTERRUPT_FILE: nothing is
   * cached, and a message goes by storeMessage().
   */
  miss(vpn: number, offset: number, write: boolean): number {
    this.#counters[MISSES]! += 1;
    const context = this.#context ?? this.#directory.locate(this.#did);
    if (typeof context === 'number') return this.#refuse(context, vpn, offset, write);
    this.#context = context;
    const cause = this.#walker.translate(context, vpn, write);
    if (cause === 0) return this.#fill(vpn);
    return cause === TO_INTERRUPT_FILE ? cause : this.#refuse(cause, vpn, offset, write);
  }

  /**
   * After TO_INTERRUPT_FILE, in the same transaction: a store of 32 bits to the file's page. False
   * when it is refused.
   */
  storeMessage(vpn: number, offset: number, value: number): boolean {
    const cause = this.#files.store(this.#walker.interruptFile, offset, value);
    return cause === 0 || this.#refuse(cause, vpn, offset, true) >= 0;
  }

  #catchUp(): void {
    this.#epoch.attend();
    this.#counters[INVALIDATIONS]! += this.#log.catchUp();
  }

  /**
   * Caches the walker's result. Returns −1 if nothing answers at that pa: an Unsupported Request of
   * the bus, no fault of the IOMMU.
   */
  #fill(vpn: number): number {
    const { pfn, pages, readable, writable, global } = this.#walker;
    const range = this.#physical.resolve(pfn);
    if (range === undefined) {
      this.#counters[UNSUPPORTED]! += 1;
      return -1;
    }
    const blockPfn = pfn - (vpn % BLOCK_PAGES);
    const large = pages >= BLOCK_PAGES && blockPfn >= range.startPfn && blockPfn + BLOCK_PAGES <= range.endPfn;
    const page = pfn - range.startPfn;
    return this.iotlb.fill(vpn, { range, page, readable, writable, global, leafPages: pages, large });
  }

  #refuse(cause: number, vpn: number, offset: number, write: boolean): number {
    this.#counters[FAULTS]! += 1;
    if (this.#context?.dtf && !reportedWithDtf(cause)) return -1;
    const fault = this.#fault;
    fault.cause = cause;
    fault.ttyp = write ? TTYP_WRITE : TTYP_READ;
    fault.did = this.#did;
    setAddresses(fault, vpn, offset, this.#walker);
    this.#faults.record(fault);
    return -1;
  }

  invalidateAll(): void {
    this.#context = undefined;
    this.iotlb.clear(false);
  }

  invalidate(request: Readonly<Invalidation>): void {
    const { kind, flags } = request;
    if (kind === KIND_DDT) {
      if ((flags & HAS_DID) === 0 || request.did === this.#did) this.invalidateAll();
    } else if (this.#context === undefined) return;
    else if (kind === KIND_VMA) this.#invalidateVma(this.#context, request);
    else if (kind === KIND_GVMA) this.#invalidateGvma(this.#context, request);
  }

  /**
   * IOMMU spec §3.1.1, table of IOTINVAL.VMA. Without GV the request is for contexts without a
   * second stage. With GV it is for those of GSCID.
   */
  #invalidateVma(context: DeviceContext, { flags, gscid, pscid, vpn }: Readonly<Invalidation>): void {
    const host = context.secondStage === BARE;
    if ((flags & HAS_GSCID) !== 0 ? host || gscid !== context.gscid : !host) return;
    const byPscid = (flags & HAS_PSCID) !== 0;
    if (byPscid && (context.firstStage === BARE || pscid !== context.pscid)) return;
    if ((flags & HAS_ADDRESS) !== 0) this.iotlb.clearPage(vpn, byPscid);
    else this.iotlb.clear(byPscid);
  }

  /**
   * §3.1.1, table of IOTINVAL.GVMA. Entries under a first stage do not know their gpa, so all of
   * them go.
   */
  #invalidateGvma(context: DeviceContext, { flags, gscid, vpn }: Readonly<Invalidation>): void {
    if (context.secondStage === BARE) return;
    if ((flags & HAS_GSCID) !== 0 && gscid !== context.gscid) return;
    const byAddress = (flags & (HAS_GSCID | HAS_ADDRESS)) === (HAS_GSCID | HAS_ADDRESS);
    if (byAddress && context.firstStage === BARE) this.iotlb.clearPage(vpn, false);
    else this.iotlb.clear(false);
  }
}
