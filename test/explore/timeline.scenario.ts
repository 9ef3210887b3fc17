/** iommu/bus/timeline.ts: a reader sees a bucket whole or not at all, while the writer goes on. */
import assert from 'node:assert/strict';
import { createTimeline, Timeline } from '../../iommu/bus/timeline.ts';
import { defineScenario } from './scenario.ts';

const MS = 1e6;
/** Two buckets are all the scenarios touch; one lap later they come again. */
const BYTES = 128;
const LAP = createTimeline().byteLength / (BYTES / 2);
const FIELDS = ['seq', '', 'number', '', 'operations', '', 'transactions', '', 'bytes', '', 'maxGapUs'];

const names = (_: string, word: number): string => `${word >> 4}.${FIELDS[word & 15]}`;

/**
 * Each operation is of 2 transactions and 8 bytes, so a bucket tells by itself whether it is whole.
 */
function record(timeline: SharedArrayBuffer, times: readonly number[]): void {
  const writer = new Timeline(timeline);
  for (const ms of times) writer.record(ms * MS, 2, 8);
}

function look(timeline: SharedArrayBuffer, fromMs: number, toMs: number): void {
  for (const { number, operations, transactions, bytes } of new Timeline(timeline).slice(fromMs * MS, toMs * MS)) {
    assert.ok(number >= fromMs && number < toMs, `bucket ${number} is not one that was asked for`);
    assert.deepEqual([transactions, bytes], [2 * operations, 8 * operations], `bucket ${number} is torn`);
  }
}

/** A bucket grows while it is read. */
export const growing = defineScenario({
  file: import.meta.url,
  name: 'growing-bucket',
  memory: () => ({ timeline: new SharedArrayBuffer(BYTES) }),
  names,
  actors: {
    device: ({ timeline }) => record(timeline, [0.1, 0.2]),
    reader: ({ timeline }) => look(timeline, 0, 1),
  },
});

/** The writer comes round to a bucket again while its old content is read. */
export const lapped = defineScenario({
  file: import.meta.url,
  name: 'lapped-bucket',
  memory: () => ({ timeline: new SharedArrayBuffer(BYTES) }),
  names,
  actors: {
    device: ({ timeline }) => record(timeline, [1.1, LAP + 1.1]),
    reader: ({ timeline }) => look(timeline, 1, 2),
  },
});
