/** A thread's own way to the devices of a VMM: its task channel, with a call page. */
import type { SharedPart } from '../../platform/shared.ts';
import { ClientPages } from '../client/client-pages.ts';
import { connectTask } from '../client/kernel-client.ts';
import type { PassthroughHost } from './passthrough-host.ts';

export interface ThreadChannel {
  /** The fd, which the thread's owner closes. */
  readonly socket: number;
  /** Absent where the host gives none. */
  readonly callPage?: SharedPart;
}

/**
 * Connects a channel for a thread that uses no foreign functions.
 *
 * NOT MODELLED: the thread has no register pages. With them a guest has once read a wrong result
 * of edu, for a reason that is not known.
 */
export function connectThread({ client }: PassthroughHost): ThreadChannel {
  const { socket, hasPages } = connectTask(client.socketPath);
  const pages = hasPages ? new ClientPages(socket) : undefined;
  const callPage = pages?.calls();
  return { socket, ...(callPage ? { callPage } : {}) };
}
