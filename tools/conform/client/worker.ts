/** Thread entry: carries out one step per message. The thread ends with its process. */
import { parentPort } from 'node:worker_threads';

import { gettid } from '../../../platform/libc/this-process.ts';
import { workerInput } from '../../../platform/thread.ts';
import type { ActorMessage, ActorRequest, ThreadData } from './protocol.ts';
import { RemoteActor } from './remote-actor.ts';

const port = parentPort!;
const send = (message: ActorMessage): void => port.postMessage(message);
const actor = new RemoteActor(workerInput<ThreadData>());
port.on('message', async (request: ActorRequest) => send(await actor.carryOut(request)));
send({ tid: gettid() });
