/**
 * How a client notices that the shard has died without a word: its stdin is a pipe that the shard
 * holds open.
 */
import { constants } from 'node:os';

import { POLLHUP, POLLIN, poll, setParentDeathSignal } from '../../../platform/libc.ts';

export function shardIsGone(): boolean {
  const [revents] = poll([{ fd: 0, events: POLLIN }], 0) ?? [0];
  return ((revents ?? 0) & POLLHUP) !== 0;
}

/** The shard freezes its clients: one that is frozen when the shard dies has to go on to see it. */
export function thawWhenOrphaned(): void {
  setParentDeathSignal(constants.signals.SIGCONT);
}
