/**
 * A thread whose every access is refused: `count` of them, at pages did × 10^6 + 0, 1, 2, …; it
 * posts the unit's interrupts.
 */
import { parentPort } from 'node:worker_threads';

import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import type { PaRange } from '../../../iommu/bus/range.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { workerInput } from '../../../platform/thread.ts';

export interface FaultWorkerData {
  readonly unit: SharedArrayBuffer;
  readonly ranges: readonly PaRange[];
  readonly agent: number;
  readonly did: number;
  readonly count: number;
  readonly counters: SharedArrayBuffer;
}

const { unit, ranges, agent, did, count, counters } = workerInput<FaultWorkerData>();
const wire = (cause: string): void => parentPort?.postMessage(cause);
const port = new DmaPort({ unit, agent, did, physical: new PhysicalMemory(ranges), wire, counters });
const bytes = new Uint8Array(4);
for (let i = 0; i < count; i++) {
  port.read(did * 1_000_000 + i, 0, bytes);
  if (i % 16 === 0) port.idle();
}
port.idle();
