/** How a client notices that the shard has died without a word: its stdin is a pipe that the shard holds open. */
import { POLLHUP, POLLIN, poll } from '../../../platform/libc.ts';

export function shardIsGone(): boolean {
  const [revents] = poll([{ fd: 0, events: POLLIN }], 0) ?? [0];
  return ((revents ?? 0) & POLLHUP) !== 0;
}
