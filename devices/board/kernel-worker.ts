/** The thread of a kernel, before a board has it. */
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../platform/thread.ts';

/** `build`: folder of another built version, whose kernel it is. */
export const startKernelWorker = (build?: string): Worker =>
  startWorker('iommu/kernel/worker', undefined, { name: 'kernel', build });
