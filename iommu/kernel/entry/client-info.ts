/**
 * The host's clients, for /dev/livevmm: the files that each process has open, and the threads that
 * are inside a call.
 */
import type { ClientInfo } from '../../abi/control.ts';
import type { Channel } from './channel.ts';
import type { FileTable } from './file-table.ts';

/** Describes all clients in one go, so that the numbers belong together. */
export function clientInfo(channels: Iterable<Channel>, files: FileTable): ClientInfo[] {
  const channelsOf = byPid(channels, ({ task }) => task.pid);
  const filesOf = byPid(files.list(), ({ pid }) => pid);
  const pids = [...new Set([...channelsOf.keys(), ...filesOf.keys()])];
  return pids.map((pid) => {
    const own = channelsOf.get(pid) ?? [];
    const tasks = own.map(({ task }) => task);
    // A channel from before an exec may not have hung up yet.
    const now = tasks.find(({ mm }) => mm.alive()) ?? tasks[0];
    return {
      pid,
      channels: own.length,
      files: (filesOf.get(pid) ?? []).map(({ file }) => file.operations.name),
      lockedPages: now?.mm.lockedTotal() ?? 0,
      inKernel: own.filter(({ busy }) => busy).map(({ task }) => task.tid),
    };
  });
}

function byPid<T>(all: Iterable<T>, pidOf: (one: T) => number): ReadonlyMap<number, readonly T[]> {
  const groups = new Map<number, T[]>();
  for (const one of all) {
    const group = groups.get(pidOf(one));
    if (group) group.push(one);
    else groups.set(pidOf(one), [one]);
  }
  return groups;
}
