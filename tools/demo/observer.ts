/**
 * Observes a host from outside: the devices' own timelines, the page-table writer's counter, fault
 * counters.
 */
import type { BlockInfo, HostInfo, PteWritesReply } from '../../iommu/abi/control.ts';
import { monotonicNs } from '../../platform/clock.ts';
import type { Machine } from '../launch/machine.ts';
import type { DeviceFacts, InterruptFacts } from './facts.ts';
import { BUCKET_NS, type Bucket, type DeviceSeries } from './throughput.ts';

/** A snapshot of counters that only grow. */
export interface Counters {
  /** CLOCK_MONOTONIC of the snapshot. */
  readonly atNs: number;
  readonly pteWrites: number;
  /** DMA accesses that failed, by bdf: the IOMMU refused them, or nothing answered. */
  readonly faults: ReadonlyMap<string, number>;
  /** Accesses that slept, by bdf; only devices without an IOMMU. */
  readonly blocks: ReadonlyMap<string, BlockInfo>;
}

/** A timeline bucket may still be written to for this long. */
const SETTLED_NS = 3 * BUCKET_NS;

const floorToBucket = (ns: number): number => Math.floor(ns / BUCKET_NS) * BUCKET_NS;
const ceilToBucket = (ns: number): number => Math.ceil(ns / BUCKET_NS) * BUCKET_NS;

export class Observer {
  readonly #machine: Pick<Machine, 'host' | 'devices'>;
  readonly #series: { readonly bdf: string; readonly name: string; readonly buckets: Bucket[] }[];
  #seenNs: number;

  constructor(machine: Pick<Machine, 'host' | 'devices'>) {
    this.#machine = machine;
    this.#series = machine.devices.map(({ bdf, name }) => ({ bdf, name, buckets: [] }));
    this.#seenNs = floorToBucket(monotonicNs());
  }

  /** While the host has no kernel, nobody answers. */
  away = false;

  /** The series gathered so far. */
  get series(): readonly DeviceSeries[] {
    return this.#series;
  }

  /** Fetches what the devices did since the last call. */
  gather(): void {
    const toNs = floorToBucket(monotonicNs() - SETTLED_NS);
    if (this.away || toNs <= this.#seenNs) return;
    for (const { bdf, buckets } of this.#series) {
      buckets.push(...this.#machine.host.ask({ op: 'timeline', bdf, fromNs: this.#seenNs, toNs }).buckets);
    }
    this.#seenNs = toNs;
  }

  #info(): HostInfo {
    return this.#machine.host.ask({ op: 'info' });
  }

  counters(): Counters {
    const { units, devices, nowNs } = this.#info();
    return {
      atNs: nowNs,
      pteWrites: units.reduce((sum, unit) => sum + unit.pteWrites, 0),
      faults: new Map(devices.map(({ bdf, faults, unsupported }) => [bdf, faults + unsupported])),
      blocks: new Map(devices.flatMap(({ bdf, blocks }) => (blocks ? [[bdf, blocks] as const] : []))),
    };
  }

  /** The log of writes to page tables since a snapshot, also those of the kernel before. */
  tableWrites({ atNs }: Counters): PteWritesReply {
    return this.#machine.host.ask({ op: 'pte-writes', fromNs: atNs });
  }

  /** SHA-256 of the page tables that outlive the kernel; undefined on a host without such. */
  tablesHash(): string | undefined {
    return this.#machine.host.ask({ op: 'tables-hash' }).sha256 ?? undefined;
  }

  /** MSIs that the devices of this machine meant to send, by their own count. */
  interruptsRaised(): number {
    return this.#info().devices.reduce((sum, { interruptsSent }) => sum + interruptsSent, 0);
  }

  /**
   * Facts of each device in the pause [startNs, endNs) and in the windows of equal length beside
   * it. Only whole milliseconds inside the pause count, so DMA before or after the pause is never
   * counted as DMA during it.
   */
  deviceFacts(startNs: number, endNs: number, before: Counters, after: Counters): DeviceFacts[] {
    const from = ceilToBucket(startNs);
    const to = Math.max(from, floorToBucket(endNs));
    const span = to - from;
    const ask = (bdf: string, fromNs: number, toNs: number) =>
      this.#machine.host.ask({ op: 'timeline', bdf, fromNs, toNs });
    return this.#machine.devices.map(({ bdf, name }) => {
      const earlier = ask(bdf, from - BUCKET_NS - span, from - BUCKET_NS);
      const during = ask(bdf, from, to);
      const later = ask(bdf, to + BUCKET_NS, to + BUCKET_NS + span);
      const blocks = after.blocks.get(bdf);
      return {
        bdf,
        name,
        dmaBefore: earlier.transactions,
        dmaDuringPause: during.transactions,
        dmaAfter: later.transactions,
        bytesDuringPause: during.bytes,
        maxGapUsBefore: Math.round(earlier.maxGapUs),
        maxGapUsDuringPause: Math.round(during.maxGapUs),
        faults: (after.faults.get(bdf) ?? 0) - (before.faults.get(bdf) ?? 0),
        ...(blocks ? { longestBlockUs: longestBlockUs(blocks, startNs, endNs) } : {}),
      };
    });
  }
}

/** The longest of the accesses that slept during the pause. */
function longestBlockUs({ recent }: BlockInfo, pauseStartNs: number, pauseEndNs: number): number {
  const ofPause = recent.filter(({ startNs, endNs }) => startNs < pauseEndNs && endNs > pauseStartNs);
  return Math.round(Math.max(0, ...ofPause.map(({ startNs, endNs }) => endNs - startNs)) / 1000);
}

/** Sum of what the VMM's interrupt thread took from the eventfds. */
export function interruptFacts(raised: number, delivered: number): InterruptFacts {
  return { raised, delivered, lost: raised - delivered };
}
