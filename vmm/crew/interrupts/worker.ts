import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import { InterruptDispatcher } from './dispatcher.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

const port = parentPort!;
const tell = (message: InterruptMessage): void => port.postMessage(message);
const dispatcher = new InterruptDispatcher(workerInput<InterruptInput>(), tell);
port.once('message', () => dispatcher.run());
tell({ kind: 'ready' });
