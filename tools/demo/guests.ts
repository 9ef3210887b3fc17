/** The guests of a demo run, as the run sees them. `G` is what they count. */
import type { GuestFacts } from '../launch/guest-console.ts';
import type { Machine } from '../launch/machine.ts';

export interface Guests<G> {
  /** How long they may take until they are at work; default: 30 s. */
  readonly readyMs?: number;
  /** Whether each kind of work has been done once. */
  atWork(): Promise<boolean>;
  /** Of the guest whose VMM is updated. */
  heartbeats(): Promise<number>;
  /** The last count; the guests do nothing more. */
  final(timeoutMs: number): Promise<G>;
}

export const ANSWER_MS = 5_000;

/** The demo guest (guest/programs/demo.c). */
export const demoGuest = ({ console: guest }: Machine): Guests<GuestFacts> => ({
  async atWork() {
    const { heartbeats, factorialsOk, dmaRoundTripsOk, framesChecked, mscribes, mscribeOk } =
      await guest.stats(ANSWER_MS);
    const copies = mscribes === 0 || mscribeOk > 0;
    return heartbeats > 0 && factorialsOk > 0 && dmaRoundTripsOk > 0 && framesChecked > 0 && copies;
  },
  heartbeats: async () => (await guest.stats(ANSWER_MS)).heartbeats,
  final: (timeoutMs) => guest.final(timeoutMs),
});
