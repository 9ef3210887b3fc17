/** A thread's own way to the devices of a VMM: its task channel, and pages shared with them. */
import type { SharedPart } from '../../platform/shared.ts';
import { ClientPages } from '../client/client-pages.ts';
import { connectTask } from '../client/kernel-client.ts';
import type { PassthroughHost } from './passthrough-host.ts';

export interface ThreadChannel {
  /** The fd, which the thread's owner closes. */
  readonly socket: number;
  /** Absent where the host gives none. */
  readonly callPage?: SharedPart;
  /** By device; undefined where the host gives no page. */
  readonly registerPages: readonly (SharedPart | undefined)[];
  readonly interruptPages: readonly (SharedPart | undefined)[];
}

/** Connects a channel for a thread that uses no foreign functions. */
export function connectThread({ client, devices }: PassthroughHost): ThreadChannel {
  const { socket, hasPages } = connectTask(client.socketPath);
  const pages = hasPages ? new ClientPages(socket) : undefined;
  const callPage = pages?.calls();
  return {
    socket,
    ...(callPage ? { callPage } : {}),
    registerPages: devices.map(({ description }) => pages?.registers(description.fd)),
    interruptPages: devices.map(({ description }) => pages?.interrupts(description.fd)),
  };
}
