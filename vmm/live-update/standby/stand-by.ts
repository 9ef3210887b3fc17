/**
 * A standby's life: it gets the fds and the steady part of the state, builds all that it can, and
 * waits. It takes the guest over when it must, or ends when it is dismissed.
 */
import { einval } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import type { Adapt } from '../new-image.ts';
import type { Resumed } from '../resume.ts';
import { guard } from './guard.ts';
import { Link } from './link.ts';
import './own-program.ts';
import { readToStandby } from './protocol.ts';
import { Standby, type StandbyLink } from './standby.ts';
import { succeed } from './succeed.ts';

/**
 * `vmm --standby`. Returns the guest that it has taken over; undefined when it was dismissed.
 */
export async function standBy(fds: readonly number[]): Promise<Resumed | undefined> {
  const [messagesFd, fdsSocket, snapshotFd] = fds;
  if (messagesFd === undefined || fdsSocket === undefined) throw einval('--standby: give two fds');
  if (snapshotFd !== undefined) close(snapshotFd);
  return standByFor({ messagesFd, fdsSocket, vmm: process.ppid });
}

/** The VMM that we stand by for: its process, and the sockets to it. */
export interface Patron {
  readonly messagesFd: number;
  readonly fdsSocket: number;
  readonly vmm: number;
}

/** As standBy. `adapt` makes our options of the guest's. */
export async function standByFor({ messagesFd, fdsSocket, vmm }: Patron, adapt?: Adapt): Promise<Resumed | undefined> {
  const link: StandbyLink = new Link(messagesFd, readToStandby);
  let standby: Standby;
  try {
    standby = await Standby.equipped(link, fdsSocket, { vmm, adapt });
  } catch (error) {
    link.send({ kind: 'failed', reason: (error as Error).message });
    throw error;
  }
  link.send({ kind: 'ready' });
  return standby.role === 'guardian' ? guard(standby) : succeed(standby);
}
