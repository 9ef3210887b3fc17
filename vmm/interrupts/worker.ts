import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';
import { InterruptDispatcher } from './dispatcher.ts';
import type { InterruptInput } from './protocol.ts';

new InterruptDispatcher(workerInput<InterruptInput>(), (message) => parentPort!.postMessage(message)).run();
