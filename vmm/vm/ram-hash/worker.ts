import { parentPort } from 'node:worker_threads';

import { hashRam } from '../../../platform/ram-hash.ts';
import { workerInput } from '../../../platform/thread.ts';
import type { RamHashInput } from './protocol.ts';

const { buffer, length } = workerInput<RamHashInput>();
hashRam(buffer, length).then((sha256) => parentPort!.postMessage(sha256));
