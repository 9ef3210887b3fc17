/**
 * Thread entry: the host kernel. It is loaded while the devices start, or while the kernel before
 * it runs, and waits for the board's word to begin. The socket keeps the event loop alive; the
 * board's `stop` ends it.
 */
import { parentPort } from 'node:worker_threads';

import { SysError } from '../../platform/errno.ts';
import type { KernelBegin, KernelMessage, KernelStop, KernelWorkerData } from './board/protocol.ts';
import { reportBug } from './core/bug.ts';
import { Kernel } from './kernel.ts';

const port = parentPort!;
const send = (message: KernelMessage): void => port.postMessage(message);

// A bug in one client's event must not take the other clients down.
process.on('uncaughtException', reportBug);
process.on('unhandledRejection', reportBug);

let kernel: Kernel | undefined;
port.on('message', async (message: KernelBegin | KernelStop) => {
  if ('begin' in message) return begin(message.begin);
  await kernel?.stop();
  port.close();
});
send({ loaded: true });

async function begin(data: KernelWorkerData): Promise<void> {
  try {
    const beginning = new Kernel(data, (keeps) => leave(beginning, keeps, data));
    kernel = beginning;
    await beginning.listen();
    send({ ready: true });
  } catch (error) {
    const { message } = error as Error;
    send(error instanceof SysError ? { fatal: message, code: error.code } : { fatal: message });
    process.exit(1);
  }
}

/** kexec: the next kernel gets the ports of the mediated devices. */
async function leave(leaving: Kernel, keeps: boolean, { mediated }: KernelWorkerData): Promise<void> {
  await leaving.leave(keeps);
  const down: KernelMessage = { down: true, mediated };
  port.postMessage(
    down,
    mediated.map((device) => device.port),
  );
  port.close();
}
