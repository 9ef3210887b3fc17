/**
 * The file descriptors of the host: its own, and those for its clients, which each kind of use has
 * a share of. The shares are no more together than there are, so no client can take a fd that the
 * host itself or another kind of use counts on.
 */
import { SysError } from '../../platform/errno.ts';

/**
 * The most that the host has open for itself: streams, the event loops of its threads (four fds
 * each), the threads that hash memory, the socket, and what a call opens and closes again.
 */
const HOST_FDS = 48;
/**
 * The most for a device: its thread, the thread that waits for its eventfds (virqfd.ts), the rings
 * that signal eventfds, and the objects of its BARs.
 */
const DEVICE_FDS = 16;
/** With fewer for all clients together, one client alone could not open a device. */
const LEAST_FOR_CLIENTS = 40;
/**
 * The most for connections, whatever the host may have. Each connection costs the kernel's thread
 * some 10 µs when all of them have something to say.
 */
const MAX_CONNECTION_FDS = 4096;

export interface FdShares {
  /** Connections, and the fds that look into their processes (entry/clients.ts). */
  readonly connections: number;
  /** Clients' memory (mm/board-shares.ts). */
  readonly memory: number;
  /** Eventfds of each device that may be watched (vfio/virqfd). */
  readonly watchesOfDevice: number;
}

/**
 * Divides the fds of a host that may have `nofile` and has `nrDevices` devices: three eighths of
 * what it does not need itself are for connections, a half is for memory, an eighth for watches.
 * EMFILE for a host with too few.
 */
export function shareFds(nofile: number, nrDevices: number): FdShares {
  const own = HOST_FDS + nrDevices * DEVICE_FDS;
  const forClients = nofile - own;
  if (forClients < LEAST_FOR_CLIENTS) {
    throw new SysError('EMFILE', `${nofile} open files (ulimit -n) are too few: ${own + LEAST_FOR_CLIENTS} are needed`);
  }
  return {
    connections: Math.min(MAX_CONNECTION_FDS, Math.floor((forClients * 3) / 8)),
    memory: Math.floor(forClients / 2),
    watchesOfDevice: nrDevices > 0 ? Math.floor(forClients / 8 / nrDevices) : 0,
  };
}
