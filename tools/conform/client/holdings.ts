/** What a process of a script has, for the processes that it starts. */
import { getCloexec } from '../../../platform/libc/fd.ts';
import { State } from '../steps/state.ts';
import type { Holdings } from './protocol.ts';
import { folderOf } from './socket-folder.ts';

export function holdingsOf(state: State): Holdings {
  const fds = [...state.fds()].map(([, fd]) => fd);
  return { state: state.save(), cloexec: fds.filter(getCloexec) };
}

/** Nothing but the way to the host. */
export function withoutHoldings(state: State): Holdings {
  const nothing = new State();
  nothing.change(folderOf(state));
  return { state: nothing.save(), cloexec: [] };
}
