/** Answers one number on the port it is given with the next one. */
import type { MessagePort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';

const port = workerInput<MessagePort>();
port.once('message', (value: number) => {
  port.postMessage(value + 1);
  port.close();
});
