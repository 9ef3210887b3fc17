/** Records 400 000 operations of 3 transactions and 7 bytes, 50 ns apart. */
import { parentPort } from 'node:worker_threads';

import { Timeline } from '../../../iommu/bus/timeline.ts';
import { workerInput } from '../../../platform/thread.ts';

const timeline = new Timeline(workerInput<SharedArrayBuffer>());
parentPort?.postMessage('running');
for (let i = 1; i <= 400_000; i++) timeline.record(i * 50, 3, 7);
