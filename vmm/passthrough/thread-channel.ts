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
export function connectThread(host: PassthroughHost): ThreadChannel {
  return connect(host, (device, pages) => pages.interrupts(device));
}

/** The channel of a thread that waits while another process' thread runs the guest. */
export interface WaitingChannel extends ThreadChannel {
  /** From here on the devices post their interrupts to this thread. They did to the other one. */
  postInterrupts(): void;
}

/** As connectThread. The devices' interrupts stay where they are until `postInterrupts`. */
export function connectWaitingThread(host: PassthroughHost): WaitingChannel {
  const asks: (() => void)[] = [];
  const channel = connect(host, (device) => {
    // asked for by main's channel: that of the thread is busy by then
    const later = host.client.interruptPageLater(device);
    if (later) asks.push(later.ask);
    return later?.part;
  });
  const postInterrupts = (): void => {
    for (const ask of asks.splice(0)) ask();
  };
  return { ...channel, postInterrupts };
}

function connect(
  { client, devices }: PassthroughHost,
  interruptPage: (device: number, pages: ClientPages) => SharedPart | undefined,
): ThreadChannel {
  const { socket, hasPages } = connectTask(client.socketPath);
  const pages = hasPages ? new ClientPages(socket) : undefined;
  const callPage = pages?.calls();
  return {
    socket,
    ...(callPage ? { callPage } : {}),
    registerPages: devices.map(({ description, gone }) => (gone ? undefined : pages?.registers(description.fd))),
    interruptPages: devices.map(({ description, gone }) =>
      gone || !pages ? undefined : interruptPage(description.fd, pages),
    ),
  };
}
