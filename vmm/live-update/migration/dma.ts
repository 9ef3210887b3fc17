/**
 * What the passed-through devices did around the pause of an update, by their own timelines
 * (iommu/bus/timeline.ts). They count in whole milliseconds, and only those that lie inside a
 * window belong to it.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { ControlFile } from '../../client/control.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';

/** A timeline's step. */
const STEP_NS = 1e6;
/** A step may still be written to for this long. */
const SETTLED_NS = 3 * STEP_NS;

export interface DmaWindow {
  /** Length of the window. */
  readonly ms: number;
  readonly transactions: number;
  readonly bytes: number;
}

export interface DmaOfDevice {
  readonly bdf: string;
  /** A window as long as the pause, before it. */
  readonly before: DmaWindow;
  readonly during: DmaWindow;
  /** From the end of the pause until now, at most as long as the pause. */
  readonly after: DmaWindow;
}

/** The pause is [startNs, endNs) of CLOCK_MONOTONIC. Errors of the host's control device. */
export function dmaAround({ client, devices }: PassthroughHost, startNs: number, endNs: number): DmaOfDevice[] {
  const from = Math.ceil(startNs / STEP_NS) * STEP_NS;
  const to = Math.max(from, Math.floor(endNs / STEP_NS) * STEP_NS);
  const span = to - from;
  const settled = Math.floor((monotonicNs() - SETTLED_NS) / STEP_NS) * STEP_NS;
  const next = to + STEP_NS;
  const control = new ControlFile(client);
  const window = (bdf: string, fromNs: number, toNs: number): DmaWindow => {
    if (toNs <= fromNs) return { ms: 0, transactions: 0, bytes: 0 };
    const { transactions, bytes } = control.ask({ op: 'timeline', bdf, fromNs, toNs });
    return { ms: (toNs - fromNs) / STEP_NS, transactions, bytes };
  };
  try {
    return devices.map(({ description: { bdf } }) => ({
      bdf,
      before: window(bdf, from - STEP_NS - span, from - STEP_NS),
      during: window(bdf, from, to),
      after: window(bdf, next, Math.min(next + span, settled)),
    }));
  } finally {
    control.close();
  }
}
