/**
 * Thread entry: the host kernel. The socket keeps the event loop alive; the board's `stop` ends it.
 */
import { parentPort } from 'node:worker_threads';

import { SysError } from '../../platform/errno.ts';
import { workerInput } from '../../platform/thread.ts';
import type { KernelMessage, KernelStop, KernelWorkerData } from './board/protocol.ts';
import { reportBug } from './core/bug.ts';
import { Kernel } from './kernel.ts';

const port = parentPort!;
const send = (message: KernelMessage): void => port.postMessage(message);

// A bug in one client's event must not take the other clients down.
process.on('uncaughtException', reportBug);
process.on('unhandledRejection', reportBug);

try {
  const data = workerInput<KernelWorkerData>();
  const kernel: Kernel = new Kernel(data, async (keeps) => {
    await kernel.leave(keeps);
    const { mediated } = data;
    const down: KernelMessage = { down: true, mediated };
    port.postMessage(
      down,
      mediated.map((device) => device.port),
    );
    port.close();
  });
  port.on('message', async (_: KernelStop) => {
    await kernel.stop();
    port.close();
  });
  await kernel.listen();
  send({ ready: true });
} catch (error) {
  const { message } = error as Error;
  send(error instanceof SysError ? { fatal: message, code: error.code } : { fatal: message });
  process.exit(1);
}
