/** A Linux whose VMM is updated (init.ts), as the run sees it. */
import type { FrameFacts } from '../../launch/guest-console.ts';
import type { Machine } from '../../launch/machine.ts';
import type { Guests } from '../guests.ts';

export interface LinuxFacts extends FrameFacts {
  /** Files that were read from virtio-blk, by the MD5 sum that they should have. */
  readonly filesRight: number;
  readonly filesWrong: number;
  /** Pings over virtio-net. */
  readonly pingsAnswered: number;
  readonly pingsLost: number;
}

/** It boots in 10 to 30 s; a busy machine is ten times slower. */
const READY_MS = 300_000;
/** All its code is cold after an update. */
const ANSWER_MS = 60_000;

export const linuxGuest = ({ console: guest }: Machine<LinuxFacts>): Guests<LinuxFacts> => ({
  readyMs: READY_MS,
  async atWork() {
    const { framesChecked, filesRight, filesWrong, pingsAnswered, pingsLost } = await guest.stats(READY_MS);
    return framesChecked > 0 && filesRight + filesWrong > 0 && pingsAnswered + pingsLost > 0;
  },
  heartbeats: async () => (await guest.stats(ANSWER_MS)).heartbeats,
  final: (timeoutMs) => guest.final(Math.max(timeoutMs, ANSWER_MS)),
});
