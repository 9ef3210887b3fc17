/** The sockets at which a VM's lines listen; they survive an update. */
import { SysError } from '../../platform/errno.ts';
import { setNonBlocking } from '../../platform/libc/fd.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
import { LISTENER_DESCRIPTION, type ListenerDescription } from '../machine/shared/socket-stream.ts';
import { planSerial } from './serial-option.ts';
import type { VmOptions } from './vm-state.ts';

/** In the order of planSerial's chardevs. */
export const LISTENERS_SECTION = defineSection('listeners', 1, { listeners: list(LISTENER_DESCRIPTION) });

export type ListenersState = StateOf<typeof LISTENERS_SECTION>;

/** Listens where the options say. Errors name the path in one line. */
export const openListeners = (options: VmOptions): readonly ListenerDescription[] =>
  planSerial(options).chardevs.map(({ id, path }) => {
    try {
      const fd = listenUnix(path);
      setNonBlocking(fd);
      return { fd, path };
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new SysError(error.code, `${id === '' ? '-serial' : '-chardev'}: ${error.message}`);
    }
  });

/** Whether a VM with these options has such sockets. */
export const hasListeners = (options: VmOptions): boolean => planSerial(options).chardevs.length > 0;
