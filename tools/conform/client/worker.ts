/** Thread entry: carries out one step per message. Ends with its process. */
import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import type { ActorRequest, ThreadData, ThreadMessage } from './protocol.ts';
import { RemoteActor } from './remote-actor.ts';

const port = parentPort!;
const send = (message: ThreadMessage): void => port.postMessage(message);
const actor = new RemoteActor(workerInput<ThreadData>());
port.on('message', (request: ActorRequest) => send(actor.carryOut(request)));
send({ ready: true });
