/**
 * The threads of a board. Each comes up, loads its code, and waits for the board's word, so they
 * can start before there is a board.
 */
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../platform/thread.ts';

/** `build`: folder of another built version, whose kernel it is. */
export const startKernelWorker = (build?: string): Worker =>
  startWorker('iommu/kernel/worker', undefined, { name: 'kernel', build });

export const startDeviceWorker = (name = 'device'): Worker => startWorker('devices/kit/worker', undefined, { name });

/** Threads that no board has yet. */
export interface EarlyThreads {
  readonly kernel: Worker;
  /** The board takes them from here. */
  readonly devices: Worker[];
}

/** The process can end without them until a board takes them. */
export function startEarly(nrDevices: number): EarlyThreads {
  const kernel = startKernelWorker(); // first: no other thread takes as long to load
  const devices = Array.from({ length: nrDevices }, () => startDeviceWorker());
  for (const worker of [kernel, ...devices]) worker.unref();
  return { kernel, devices };
}

/** Ends threads that no board takes. */
export function endEarly({ kernel, devices }: EarlyThreads): void {
  for (const worker of [kernel, ...devices]) void worker.terminate();
}
