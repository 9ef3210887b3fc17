/** Which processes have a file open, beyond those that have made a VFIO call. */
import { readdirSync, readlinkSync } from 'node:fs';

import { identityOf } from './fd-names.ts';

export interface Holder {
  readonly pid: number;
  readonly fd: number;
  readonly identity: string;
}

/** Files of VFIO are sockets and memory: a look at another file might wait for it. */
const MAY_BE_VFIO = /^(socket:|\/memfd:)/;

/**
 * All fds of these files (identityOf) in processes that we may look at, but for this process, which
 * is their host.
 */
export function holdersOf(identities: ReadonlySet<string>): Holder[] {
  return pids().flatMap((pid) =>
    fdsOf(pid).flatMap((fd) => {
      const identity = identityOf(pid, fd);
      return identity !== undefined && identities.has(identity) ? [{ pid, fd, identity }] : [];
    }),
  );
}

const pids = (): number[] =>
  readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) && Number(name) !== process.pid ? [Number(name)] : []));

function fdsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/fd`)
      .map(Number)
      .filter((fd) => MAY_BE_VFIO.test(linkOf(pid, fd)));
  } catch {
    return []; // it is gone, or another user's
  }
}

function linkOf(pid: number, fd: number): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return ''; // closed meanwhile
  }
}
