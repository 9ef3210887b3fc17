/** A worker entry: runs a second hart on the RAM of the test until it waits for an interrupt. */
import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import { createHart, type Registers } from './fixture.ts';

export interface SecondHart {
  readonly ram: SharedArrayBuffer;
  readonly program: string;
  readonly registers: Registers;
  /** Set to 1 and notified when the hart may start; it says that it is ready with a message. */
  readonly start: Int32Array;
}

const { ram, program, registers, start } = workerInput<SecondHart>();
const { hart } = createHart({ ram, program, registers });
parentPort?.postMessage('ready');
Atomics.wait(start, 0, 0, 10_000);
while (hart.run(10_000) !== 'wfi');
parentPort?.postMessage('done');
