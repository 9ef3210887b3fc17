/**
 * The facts that a demo run observed, in the words of its JSON document. The verdict is in
 * verdict.ts.
 */

import type { PteWritesReply } from '../../iommu/abi/control.ts';
import type { KexecReport } from '../clients/live-update.ts';
import type { GuestFacts } from '../launch/guest-console.ts';

/**
 * One device around one update. "Before" and "after" are windows next to the pause and as long as
 * it.
 */
export interface DeviceFacts {
  readonly bdf: string;
  readonly name: string;
  /** DMA transactions, counted by the device itself. */
  readonly dmaBefore: number;
  readonly dmaDuringPause: number;
  readonly dmaAfter: number;
  readonly bytesDuringPause: number;
  /** Longest time between two DMA transactions. */
  readonly maxGapUsBefore: number;
  readonly maxGapUsDuringPause: number;
  /** DMA transactions that were refused, from the start of the update to its end. */
  readonly faults: number;
  /**
   * The longest sleep of an access because of this pause; 0 when none slept. Only for a device
   * without an IOMMU: its accesses go through the VMM's vaddr.
   */
  readonly longestBlockUs?: number;
}

export interface UpdateFacts {
  /** The host's kernel was replaced, too. */
  readonly kexec?: KexecReport;
  /** SHA-256 of all persistent page tables around the update; absent where there are none. */
  readonly tables?: { readonly before: string; readonly after: string };
  readonly generation: number;
  readonly pid: number;
  readonly vaddrOld: string;
  readonly vaddrNew: string;
  /**
   * Time from the last guest instruction before the pause to the first after it, CLOCK_MONOTONIC.
   */
  readonly pauseMs: number;
  readonly pauseStartNs: number;
  readonly pauseEndNs: number;
  readonly phasesMs: Readonly<Record<string, number>>;
  /**
   * Page-table words written from the start of the update to its end, by the page-table writer's
   * own counter.
   */
  readonly pteWrites: number;
  /** The writer's log of them. After a kexec it has those of the kernel before, too. */
  readonly tableWrites: PteWritesReply;
  /** The guest's heartbeat before and some time after the update. */
  readonly heartbeatsBefore: number;
  readonly heartbeatsAfter: number;
  readonly devices: readonly DeviceFacts[];
}

export interface InterruptFacts {
  /** MSIs the devices sent. */
  readonly raised: number;
  /** Counts the VMM read from the eventfds. */
  readonly delivered: number;
  /** raised − delivered, once all is quiet. */
  readonly lost: number;
}

/** `G`: what the guests have counted. */
export interface RunFacts<G> {
  readonly updatesWanted: number;
  /** The VMM's pid before the first update. */
  readonly pid: number;
  readonly updates: readonly UpdateFacts[];
  readonly pteWritesDuringUpdates: number;
  readonly guest: G | null;
  readonly interrupts: InterruptFacts | null;
  readonly ramHashMatches: boolean | null;
  /**
   * Reasons why the run could not be completed, one line each: a process that ended, a time-out.
   */
  readonly errors: readonly string[];
}

export type DemoFacts = RunFacts<GuestFacts>;
