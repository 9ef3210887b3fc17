/**
 * DMA of a device without an IOMMU in front. The kernel makes every access, in the memory of the
 * process that has mapped the iova. An access may take as long as the replacement of that process
 * (iommu/kernel/mdev). The worker sleeps meanwhile, but still serves its registers: they are read
 * and written in the middle of an access. So a device makes accesses only in its run(), never for a
 * register access. While the kernel looks for requests, the worker looks for the answer before it
 * sleeps: a wake-up would take ten times as long.
 */
import { MSI_WINDOW } from '../../iommu/abi/msi-window.ts';
import { PortCounters } from '../../iommu/bus/counters.ts';
import {
  CHANNEL_DATA_BYTES,
  ChannelRequester,
  OP_MESSAGE,
  OP_READ,
  OP_WRITE,
} from '../../iommu/bus/mediated-channel.ts';
import { Backoff } from '../../platform/backoff.ts';
import { lookFor } from '../../platform/look-for.ts';
import { MailboxServer } from '../../platform/mailbox.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { Spinners } from '../../platform/spinners.ts';
import type { DeviceControl } from './control.ts';
import type { Dma } from './dma.ts';

const END_MSI_PAGE = MSI_WINDOW.vpn + MSI_WINDOW.nrPages;
/** Longest sleep: bounds the harm of a lost wake-up. */
const MAX_SLEEP_MS = 1000;
/** After looks in vain, so many accesses are followed by none. */
const MOST_SKIPPED = 15;

/** The worker looks for an answer for so long. */
const PATIENCE_MS = 0.06;

export interface MediatedDmaOptions {
  readonly channel: SharedArrayBuffer;
  /** Tells the kernel that a request is posted. */
  readonly tell: () => void;
  readonly mailbox: SharedArrayBuffer;
  readonly control: DeviceControl;
  readonly spinners: Spinners;
  /** Looks at the bell between two looks at the clock; lookFor's number by default. */
  readonly looks?: number;
  /** Layout PortCounters. */
  readonly counters: SharedArrayBuffer;
  /** Serves the register accesses that wait in the mailbox. */
  readonly serve: () => void;
}

export class MediatedDma implements Dma {
  readonly #options: MediatedDmaOptions;
  readonly #requester: ChannelRequester;
  readonly #server: MailboxServer;
  readonly #counters: Float64Array;
  readonly #backoff = new Backoff(MOST_SKIPPED);
  /**
   * Interrupts of this turn. One may be due to a register access (MSI-X: a vector's mask is
   * lifted), and the kernel, which makes that access, could not answer then.
   */
  readonly #messages: Parameters<ChannelRequester['post']>[0][] = [];

  constructor(options: MediatedDmaOptions) {
    this.#options = options;
    this.#requester = new ChannelRequester(options.channel);
    this.#server = new MailboxServer(options.mailbox);
    this.#counters = new Float64Array(options.counters);
  }

  /** Reads into `dst`. Returns the bytes before a refusal, in steps of CHANNEL_DATA_BYTES. */
  read(vpn: number, offset: number, dst: Uint8Array): number {
    return this.#inParts(vpn, offset, dst, (at, part) => {
      if (!this.#access(OP_READ, at, part.length)) return false;
      part.set(this.#requester.data.subarray(0, part.length));
      this.#count('bytesRead', part.length);
      return true;
    });
  }

  /**
   * Writes `src`. Returns the bytes before a refusal, in steps of CHANNEL_DATA_BYTES. Some bytes of
   * the refused part may have been written.
   */
  write(vpn: number, offset: number, src: Uint8Array): number {
    return this.#inParts(vpn, offset, src, (at, part) => {
      this.#requester.data.set(part);
      if (!this.#access(OP_WRITE, at, part.length)) return false;
      this.#count('bytesWritten', part.length);
      return true;
    });
  }

  write32(vpn: number, offset: number, value: number): boolean {
    if (vpn >= MSI_WINDOW.vpn && vpn < END_MSI_PAGE) {
      this.#messages.push({ op: OP_MESSAGE, vpn, offset, length: 0, message: value });
      return true;
    }
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, value, true);
    return this.write(vpn, offset, word) === 4;
  }

  /** The end of a turn. Nothing but messages is ever under way between two accesses. */
  idle(): void {
    for (let next = this.#messages.shift(); next; next = this.#messages.shift()) this.#request(next);
  }

  #inParts(
    vpn: number,
    offset: number,
    bytes: Uint8Array,
    move: (at: { readonly vpn: number; readonly offset: number }, part: Uint8Array) => boolean,
  ): number {
    let done = 0;
    while (done < bytes.length) {
      const at = offset + done;
      const part = bytes.subarray(done, done + CHANNEL_DATA_BYTES);
      if (!move({ vpn: vpn + Math.floor(at / PAGE_SIZE), offset: at % PAGE_SIZE }, part)) break;
      done += part.length;
    }
    return done;
  }

  #access(
    op: typeof OP_READ | typeof OP_WRITE,
    at: { readonly vpn: number; readonly offset: number },
    length: number,
  ): boolean {
    this.#count('transactions', 1);
    return this.#request({ op, ...at, length, message: 0 });
  }

  /**
   * Waits until the kernel has answered. False when the kernel refused the request, or when this
   * worker is to stop.
   */
  #request(request: Parameters<ChannelRequester['post']>[0]): boolean {
    const { control, tell, serve } = this.#options;
    // a request may have been given up: its answer is still to come
    if (control.stopping()) return false;
    const kernelLooks = this.#requester.post(request);
    if (!kernelLooks) tell();
    for (let looks = kernelLooks; ; looks = false) {
      const seen = this.#server.bell(); // before looking at what it may stand for
      serve();
      if (this.#requester.answered()) break;
      if (control.stopping()) return false;
      if (looks && this.#look(seen)) continue;
      this.#server.wait(seen, MAX_SLEEP_MS); // woken by the answer, a register access, and stop
    }
    if (this.#requester.refused() === 0) return true;
    this.#count('faults', 1);
    return false;
  }

  /** Looks for a ring of the bell. False: none came, or this thread has no room to look. */
  // HOT: one load a look
  #look(seen: number): boolean {
    const { spinners, looks } = this.#options;
    if (this.#backoff.skips() || !spinners.enter()) return false;
    const rung = lookFor(PATIENCE_MS, () => this.#server.bell() !== seen, looks);
    spinners.leave();
    if (rung) this.#backoff.found();
    else this.#backoff.missed();
    return rung;
  }

  #count(counter: 'transactions' | 'bytesRead' | 'bytesWritten' | 'faults', by: number): void {
    this.#counters[PortCounters.word64[counter]]! += by;
  }
}
