/**
 * Puts nonsense into the pages that a client shares with the kernel and with a device's worker:
 * its call page, and the device's register page and interrupt page. They trust nothing there.
 */
import { SysError } from '../../../platform/errno.ts';
import { encodeFrame } from '../../../platform/frames.ts';
import { close } from '../../../platform/libc/fd.ts';
import { sendAll } from '../../../platform/libc/unix-socket.ts';
import { int32s } from '../../../platform/shared.ts';
import { ClientPages } from '../../../vmm/client/client-pages.ts';
import { connectTask } from '../../../vmm/client/kernel-client.ts';
import type { Random } from '../random.ts';

/** Then it takes other pages. Nobody reads the answers on the channel, and they fit its buffer. */
const SCRIBBLES = 40;
const MOST_STORES = 500;
/** Words before this one are states, counts and descriptions; data comes after. */
const HEADER_WORDS = 64;
/** The states of all three pages are below. */
const STATES = 6;
/** A call makes the kernel look at the call page. */
const CALL = encodeFrame({ op: 'sync' });

export class Scribbler {
  readonly #socketPath: string;
  readonly #random: Random;
  #channel: number | undefined;
  #pages: readonly Int32Array[] = [];
  #left = 0;

  constructor(socketPath: string, random: Random) {
    this.#socketPath = socketPath;
    this.#random = random;
  }

  /** Scribbles over one of the pages. `device`: an open fd of one. */
  scribble(device: number): void {
    try {
      if (this.#left-- === 0 || this.#channel === undefined) this.#begin(device);
      this.#store(this.#random.pick(this.#pages)!);
      sendAll(this.#channel!, CALL);
    } catch (error) {
      if (!(error instanceof SysError && (error.code === 'EPIPE' || error.code === 'ECONNRESET'))) throw error;
      this.end();
    }
  }

  /** Hangs up, with the pages as they are. */
  end(): void {
    if (this.#channel !== undefined) close(this.#channel);
    this.#channel = undefined;
  }

  #begin(device: number): void {
    this.end();
    this.#channel = connectTask(this.#socketPath).socket;
    const pages = new ClientPages(this.#channel);
    const all = [pages.calls(), pages.registers(device), pages.interrupts(device)];
    this.#pages = all.flatMap((page) => (page ? [int32s(page)] : []));
    this.#left = SCRIBBLES;
  }

  #store(words: Int32Array): void {
    const random = this.#random;
    for (let stores = random.below(MOST_STORES); stores > 0; stores--) {
      const at = random.below(random.chance(0.8) ? HEADER_WORDS : words.length);
      Atomics.store(words, at, random.chance(0.6) ? random.below(STATES) : random.next() | 0);
    }
  }
}
