/**
 * Whose call it is. A peer makes calls for itself; a supervisor (tools/with) makes them for threads
 * of other processes. It may do so where it could as well change those processes as it likes:
 * root may, and a user whose uid is each of the process's uids.
 */
import { eperm, esrch } from '../../../platform/errno.ts';
import { isInOurPidNamespace, uidsOf } from '../../../platform/process-status.ts';
import type { Process, ProcessTable } from '../core/task.ts';

/** Credentials of a peer as of its connect(2), or of the process it makes a call for. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
}

/**
 * The process that opens a file: the peer, or process `pid`. ESRCH: there is none; EPERM: it is not
 * the peer's to act for.
 */
export function openerOf(peer: Peer, pid = peer.pid): Peer {
  if (pid === peer.pid) return peer;
  if (!isInOurPidNamespace(peer.pid)) throw eperm(`process ${peer.pid} lives in another PID namespace than the host`);
  const uids = uidsOf(pid);
  if (!uids) throw esrch(`no process ${pid}`);
  if (peer.uid !== 0 && uids.some((uid) => uid !== peer.uid)) {
    throw eperm(`process ${peer.pid} of user ${peer.uid} may not make calls for process ${pid}`);
  }
  return { pid, uid: uids[1]! };
}

/**
 * The process whose thread makes the calls of a channel. Errors as openerOf, and those of
 * ProcessTable.open.
 */
export function callerOf(peer: Peer, pid: number | undefined, processes: ProcessTable): Process {
  openerOf(peer, pid);
  const process = processes.open(pid ?? peer.pid);
  // The number may have become another process's before `process` took hold of it.
  openerOf(peer, pid);
  if (pid !== undefined && process.exited()) throw esrch(`no process ${pid}`);
  return process;
}
