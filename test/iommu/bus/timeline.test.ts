import { describe, expect, it } from 'vitest';

import { createTimeline, summarize, Timeline } from '../../../iommu/bus/timeline.ts';
import { startWorker } from '../../../platform/thread.ts';

const MS = 1e6;

describe('Timeline', () => {
  it('puts operations into the bucket of their millisecond, with the longest silence that ended there', () => {
    const timeline = new Timeline(createTimeline());
    timeline.record(5.1 * MS, 2, 100);
    timeline.record(5.4 * MS, 3, 50);
    timeline.record(9.0 * MS, 1, 7);

    expect(timeline.slice(0, 20 * MS)).toEqual([
      { number: 5, operations: 2, transactions: 5, bytes: 150, maxGapUs: expect.closeTo(300) },
      { number: 9, operations: 1, transactions: 1, bytes: 7, maxGapUs: expect.closeTo(3600) },
    ]);
  });

  it('reuses a bucket one lap later and does not show the old one', () => {
    const timeline = new Timeline(createTimeline());
    timeline.record(3 * MS, 1, 1);
    timeline.record((3 + 16384) * MS, 1, 2);

    expect(timeline.slice(3 * MS, 4 * MS)).toEqual([]);
    expect(timeline.slice((3 + 16384) * MS, (4 + 16384) * MS).map((b) => b.bytes)).toEqual([2]);
  });

  it('takes times of a machine that has been up for years', () => {
    const timeline = new Timeline(createTimeline());
    const years = 5 * 365 * 86400 * 1e9;
    timeline.record(years, 1, 1);

    expect(timeline.slice(years - MS, years + MS)).toHaveLength(1);
  });

  it.each([2 ** 53, 2 ** 54, 2 ** 55, 1e300])(
    'has nothing in bucket %d, where numbers do not count up by one',
    (bucket) => {
      const timeline = new Timeline(createTimeline());
      timeline.record(MS, 1, 1);

      expect(timeline.slice(0, bucket * MS)).toEqual([]);
      expect(timeline.slice(bucket * MS, (bucket + 16384) * MS)).toEqual([]);
    },
  );

  it('is read whole while it is written', async () => {
    const shared = createTimeline();
    const worker = startWorker('test/iommu/hardware/timeline-worker', shared, { name: 'timeline' });
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    await new Promise((resolve) => worker.once('message', resolve));
    const timeline = new Timeline(shared);
    let running = true;
    exited.then(() => {
      running = false;
    });
    let seen = 0;
    while (running) {
      for (const bucket of timeline.slice(0, 20 * MS)) {
        seen++;
        expect([bucket.transactions, bucket.bytes]).toEqual([bucket.operations * 3, bucket.operations * 7]);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }

    expect(seen).toBeGreaterThan(0);
    expect(summarize(timeline.slice(0, 20 * MS), 0, 20 * MS).operations).toBe(400_000 - 1);
  });
});

describe('summarize', () => {
  const bucket = { number: 5, operations: 2, transactions: 4, bytes: 100, maxGapUs: 20 };

  it('adds what lies in the window', () => {
    const buckets = [
      { ...bucket, number: 4 },
      bucket,
      { ...bucket, number: 6, maxGapUs: 90 },
      { ...bucket, number: 7 },
    ];

    expect(summarize(buckets, 5 * MS, 7 * MS)).toEqual({ operations: 4, transactions: 8, bytes: 200, maxGapUs: 90 });
  });

  it('counts the silence at the end, and a window without any operation, as gaps', () => {
    expect(summarize([bucket], 5 * MS, 50 * MS).maxGapUs).toBe(44_000);
    expect(summarize([], 5 * MS, 50 * MS)).toEqual({ operations: 0, transactions: 0, bytes: 0, maxGapUs: 45_000 });
  });
});
