/** The sockets that a VM's lines lead to; those that listen survive an update. */
import { openEnd } from '../../devices/backends/open-socket.ts';
import {
  LISTENER_DESCRIPTION,
  LISTENER_DESCRIPTION_1,
  type ListenerDescription,
} from '../../devices/backends/socket-stream.ts';
import { einval } from '../../platform/errno.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { planStreams } from './stream-plan.ts';
import type { VmOptions } from './vm-state.ts';

/** In the order of planStreams. */
export const LISTENERS_SECTION = defineSection('listeners', 2, { listeners: list(LISTENER_DESCRIPTION) }).earlier(
  1,
  { listeners: list(LISTENER_DESCRIPTION_1) },
  {
    read: ({ listeners }) => ({ listeners: listeners.map((each) => ({ ...each, reconnectMs: 0 })) }),
    write: ({ listeners }) => ({
      listeners: listeners.map(({ fd, path }) => {
        if (fd === null) throw einval(`the line to ${path} is a client's`);
        return { fd, path };
      }),
    }),
  },
);

export type ListenersState = StateOf<typeof LISTENERS_SECTION>;

/** Listens where the options say. Errors as openEnd. */
export const openListeners = (options: VmOptions): readonly ListenerDescription[] =>
  planStreams(options).map((plan) => openEnd(plan, plan.option));

/** Whether a VM with these options has such sockets. */
export const hasListeners = (options: VmOptions): boolean => planStreams(options).length > 0;
