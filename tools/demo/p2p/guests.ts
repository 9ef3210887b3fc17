/**
 * The two guests of the peer-to-peer demo (guest/programs/peer.c): one whose capture device writes
 * frames into the memory of an ivshmem device, and one that reads them in the memory of another
 * ivshmem device, which is the same.
 */
import type { FrameFacts } from '../../launch/guest-console.ts';
import type { Machine } from '../../launch/machine.ts';
import { ANSWER_MS, type Guests } from '../guests.ts';

/** Each load from the shared memory is a call: on a busy machine the reader is behind. */
const READ_MS = 60_000;

export interface PeerFacts {
  readonly writer: FrameFacts;
  readonly reader: FrameFacts;
  /** Frames that the reader had checked before and some time after each update of the writer. */
  readonly read: readonly { readonly before: number; readonly after: number }[];
}

export class PeerGuests implements Guests<PeerFacts> {
  readonly #writer: Machine<FrameFacts>;
  readonly #reader: Machine<FrameFacts>;
  /** Counts of the reader, one each time the writer was asked for its heartbeats. */
  readonly #counts: number[] = [];

  constructor(writer: Machine<FrameFacts>, reader: Machine<FrameFacts>) {
    this.#writer = writer;
    this.#reader = reader;
  }

  async atWork(): Promise<boolean> {
    const [writer, reader] = await Promise.all([this.#stats(this.#writer), this.#stats(this.#reader)]);
    return writer.heartbeats > 0 && reader.framesChecked > 0;
  }

  #stats(machine: Machine<FrameFacts>): Promise<FrameFacts> {
    return machine.whileAlive(machine.console.stats(ANSWER_MS));
  }

  async heartbeats(): Promise<number> {
    const [writer, reader] = await Promise.all([this.#stats(this.#writer), this.#stats(this.#reader)]);
    this.#counts.push(reader.framesChecked);
    return writer.heartbeats;
  }

  /** The writer first: the reader then knows how many frames there are. */
  async final(timeoutMs: number): Promise<PeerFacts> {
    const writer = await this.#writer.console.final(timeoutMs);
    const patience = Math.max(timeoutMs, READ_MS);
    const reader = await this.#reader.whileAlive(this.#reader.console.final(patience));
    const read = Array.from({ length: Math.floor(this.#counts.length / 2) }, (_, i) => {
      return { before: this.#counts[2 * i]!, after: this.#counts[2 * i + 1]! };
    });
    return { writer, reader, read };
  }
}
