/**
 * A device that writes over and over to the pages 0–15 of its address space, in pieces from 4 bytes
 * to 64 KiB, until told to stop.
 */
import { parentPort } from 'node:worker_threads';

import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import type { PaRange } from '../../../iommu/bus/range.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { workerInput } from '../../../platform/thread.ts';

export interface DmaWorkerData {
  readonly unit: SharedArrayBuffer;
  readonly ranges: readonly PaRange[];
  readonly agent: number;
  readonly did: number;
  readonly counters: SharedArrayBuffer;
  /** One word: not 0 means stop. It posts a message once it is running. */
  readonly control: SharedArrayBuffer;
}

const { unit, ranges, agent, did, counters, control } = workerInput<DmaWorkerData>();
const words = new Int32Array(control);
const port = new DmaPort({ unit, agent, did, physical: new PhysicalMemory(ranges), wire: () => {}, counters });
const sizes = [65536, 4096, 64, 20000, 1];
const sources = sizes.map((size) => new Uint8Array(size).fill(agent + 1));

for (let i = 0; Atomics.load(words, 0) === 0; i++) {
  const source = sources[i % sources.length]!;
  port.write(i % 16, 0, source.length <= 4096 ? source : source.subarray(0, (16 - (i % 16)) * 4096));
  port.write32((i * 7) % 16, 4, agent + 1);
  if (i % 8 === 0) port.idle();
  if (i === 100) parentPort?.postMessage('running');
}
port.idle();
