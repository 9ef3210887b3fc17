/** Open files of the emulated kernel that become fds of the program. */
import { DEVICE_FD_PATH, type OpenHello, type Reply } from '../../../iommu/abi/wire.ts';
import { errnoName, SysError } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { connectUnix } from '../../../platform/libc/unix-socket.ts';
import { askForObject } from '../../../vmm/client/passed-object.ts';
import { succeeded } from '../../../vmm/client/task-channel.ts';
import type { Steps } from './steps.ts';

/**
 * The open file that becomes the program's: the object that the kernel passes for it, or else the
 * connection. Throws the kernel's errno.
 */
export function connectFile(socketPath: string, hello: Omit<OpenHello, 'fd'>): number {
  const connection = connectUnix(socketPath);
  let object: number | undefined;
  try {
    const answer = askForObject(connection, { ...hello, fd: connection, object: true });
    succeeded(answer.reply, `open ${hello.open}`);
    object = answer.object;
  } catch (error) {
    close(connection);
    throw error;
  }
  if (object === undefined) return connection;
  close(connection);
  return object;
}

/** open(2) of a node of the emulated kernel, by a thread of process `pid`. */
export function* openNode(socketPath: string, path: string, pid: number, cloexec: boolean): Steps {
  yield { op: 'sync' }; // what the process has closed before is released
  return { fd: connectFile(socketPath, { open: path, pid }), cloexec };
}

/** The file that VFIO_GROUP_GET_DEVICE_FD has opened for process `pid`. */
export const claimDevice = (socketPath: string, token: number, pid: number): number =>
  connectFile(socketPath, { open: DEVICE_FD_PATH, token, pid });

/** The result of a reply; the errno of a refusal is thrown. */
export function resultOf({ ret, message }: Reply): number {
  if (ret < 0) throw new SysError(errnoName(-ret), message ?? 'refused');
  return ret;
}
