/**
 * A client's watch for the shard's death. The client's stdin is a socket whose other end the shard
 * holds open.
 */
import { constants } from 'node:os';

import { POLLHUP, POLLIN, poll } from '../../../platform/libc/poll.ts';
import { setParentDeathSignal } from '../../../platform/libc/this-process.ts';

export function shardIsGone(): boolean {
  const [revents] = poll([{ fd: 0, events: POLLIN }], 0) ?? [0];
  return ((revents ?? 0) & POLLHUP) !== 0;
}

/**
 * Lets a frozen client go on when the shard dies. The shard freezes its clients, and a client that
 * is frozen at that moment must run to notice.
 */
export function thawWhenOrphaned(): void {
  setParentDeathSignal(constants.signals.SIGCONT);
}
