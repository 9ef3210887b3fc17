/** The sockets that a VM's lines lead to; those that listen survive an update. */
import { resolve } from 'node:path';
import {
  LISTENER_DESCRIPTION,
  LISTENER_DESCRIPTION_1,
  type ListenerDescription,
} from '../../devices/backends/socket-stream.ts';
import { einval, SysError } from '../../platform/errno.ts';
import { setNonBlocking } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
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

/** Listens where the options say. Errors name the path in one line. */
export const openListeners = (options: VmOptions): readonly ListenerDescription[] =>
  planStreams(options).map(({ option, path, server, reconnectMs }) => {
    if (!server) return { fd: null, path: resolve(path), reconnectMs };
    try {
      const fd = listenUnix(path);
      setNonBlocking(fd);
      return { fd, path, reconnectMs };
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new SysError(error.code, `${option}: ${error.message}`);
    }
  });

/** Whether a VM with these options has such sockets. */
export const hasListeners = (options: VmOptions): boolean => planStreams(options).length > 0;
