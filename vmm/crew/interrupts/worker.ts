import { parentPort } from 'node:worker_threads';

import { eventfdRead } from '../../../platform/libc/eventfd.ts';
import { workerInput } from '../../../platform/thread.ts';
import { InterruptDispatcher } from './dispatcher.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

const port = parentPort!;
const tell = (message: InterruptMessage): void => port.postMessage(message);
const input = workerInput<InterruptInput>();
// A foreign function is looked up at its first call. The first kick may be that at the process'
// end, and a look-up while Node ends the thread aborts the process. A kick that is taken here is no
// loss: the dispatcher reads its request before it waits for another one.
eventfdRead(input.kick);
const dispatcher = new InterruptDispatcher(input, tell);
port.once('message', () => dispatcher.run());
tell({ kind: 'ready' });
