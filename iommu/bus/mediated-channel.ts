/**
 * The channel between the kernel and a device worker without an IOMMU in front (a mediated device).
 * The kernel makes the device's memory accesses for it. There is one request at a time, in shared
 * words. While requests follow each other the kernel looks at them
 * (iommu/kernel/core/attention.ts). Otherwise the worker rings (iommu/kernel/core/bells.ts); where
 * the kernel hears no bells a message tells it of a request. The worker looks for the answer where
 * the kernel looks, and else sleeps on the bell of its mailbox, so that other requests, such as a
 * register access, reach it meanwhile.
 */
import type { WaitedWord } from '../../platform/libc/futex.ts';
import { ringBell } from '../../platform/mailbox.ts';
import { atomic32, bytes, defineShared } from '../../platform/shared.ts';
import { AWAKE, AWAY, Bell } from '../abi/bell.ts';

/** The most that one request moves. */
export const CHANNEL_DATA_BYTES = 65536;

const Channel = defineShared('mediated channel', {
  // device worker: number of its last request, stored last; publishes the request, and the data of
  // a write
  posted: atomic32,
  op: atomic32, // device worker: one of the operations below
  vpnLo: atomic32, // device worker: iova page
  vpnHi: atomic32,
  offset: atomic32, // device worker: offset in that page
  length: atomic32, // device worker: bytes, at most CHANNEL_DATA_BYTES
  message: atomic32, // device worker: data of an MSI
  bell: atomic32, // Bell's, as is `attentive`: the kernel serves, the device worker posts
  pad0: bytes(32),
  attentive: atomic32,
  pad2: bytes(60),
  // kernel: number of the last request carried out, stored last; publishes refused, and the data of
  // a read
  done: atomic32,
  refused: atomic32, // kernel: 0, or the errno that it was refused with
  pad1: bytes(56),
  data: bytes(CHANNEL_DATA_BYTES), // by turns: device worker until posted, kernel until done
});

export const OP_READ = 0;
export const OP_WRITE = 1;
/** An MSI; its address has been decoded. */
export const OP_MESSAGE = 2;
export type ChannelOp = typeof OP_READ | typeof OP_WRITE | typeof OP_MESSAGE;

export function createMediatedChannel(): SharedArrayBuffer {
  return new SharedArrayBuffer(Channel.size);
}

export interface ChannelRequest {
  readonly op: ChannelOp;
  readonly vpn: number;
  readonly offset: number;
  readonly length: number;
  readonly message: number;
}

/** The device worker's end. */
export class ChannelRequester {
  readonly #words: Int32Array;
  readonly #bell: Bell;
  readonly #bytes: Uint8Array;
  #number: number;

  constructor(channel: SharedArrayBuffer) {
    this.#words = new Int32Array(channel);
    this.#bell = new Bell(this.#words, Channel.word, false);
    this.#bytes = new Uint8Array(channel, Channel.offset.data, CHANNEL_DATA_BYTES);
    this.#number = Atomics.load(this.#words, Channel.word.posted);
  }

  /**
   * The bytes of a write, to be stored before post(), or of a read, to be taken after the answer.
   */
  get data(): Uint8Array {
    return this.#bytes;
  }

  /**
   * Publishes a request. The one before must have been answered. True: the kernel looks or was
   * rung, and will find it. False: the caller must tell the kernel.
   */
  post({ op, vpn, offset, length, message }: ChannelRequest): boolean {
    const words = this.#words;
    words[Channel.word.op] = op;
    words[Channel.word.vpnLo] = vpn >>> 0;
    words[Channel.word.vpnHi] = Math.floor(vpn / 2 ** 32);
    words[Channel.word.offset] = offset;
    words[Channel.word.length] = length;
    words[Channel.word.message] = message;
    this.#number = (this.#number + 1) | 0;
    // pairs with the load in ChannelServer.take
    Atomics.store(words, Channel.word.posted, this.#number);
    return this.#bell.ring() !== AWAY;
  }

  answered(): boolean {
    // pairs with the store in ChannelServer.answer
    return Atomics.load(this.#words, Channel.word.done) === this.#number;
  }

  /** The result of an answered request: 0, or the errno of the refusal. */
  refused(): number {
    return this.#words[Channel.word.refused]!;
  }
}

/** The kernel's end. */
export class ChannelServer {
  readonly #words: Int32Array;
  readonly #bell: Bell;
  readonly #bytes: Uint8Array;
  readonly #mailbox: SharedArrayBuffer;

  /** `mailbox`: the device worker's. */
  constructor(channel: SharedArrayBuffer, mailbox: SharedArrayBuffer) {
    this.#words = new Int32Array(channel);
    this.#bell = new Bell(this.#words, Channel.word, false);
    this.#bytes = new Uint8Array(channel, Channel.offset.data, CHANNEL_DATA_BYTES);
    this.#mailbox = mailbox;
  }

  get data(): Uint8Array {
    return this.#bytes;
  }

  /** Says whether the kernel looks. After false it must look once more: nobody tells it of that. */
  setAttentive(on: boolean): void {
    this.#bell.say(on ? AWAKE : AWAY);
  }

  /** Bell.letRing */
  letRing(): WaitedWord {
    return this.#bell.letRing();
  }

  /** The request that waits for an answer. */
  take(): ChannelRequest | undefined {
    const words = this.#words;
    // pairs with the store in ChannelRequester.post
    const posted = Atomics.load(words, Channel.word.posted);
    if (posted === words[Channel.word.done]) return undefined;
    return {
      op: words[Channel.word.op] as ChannelOp,
      vpn: (words[Channel.word.vpnHi]! >>> 0) * 2 ** 32 + (words[Channel.word.vpnLo]! >>> 0),
      offset: words[Channel.word.offset]!,
      length: words[Channel.word.length]!,
      message: words[Channel.word.message]! >>> 0,
    };
  }

  /** Answers the request. `refused` is 0 or an errno. Wakes the device worker. */
  answer(refused: number): void {
    const words = this.#words;
    words[Channel.word.refused] = refused;
    // pairs with the load in ChannelRequester.answered
    Atomics.store(words, Channel.word.done, words[Channel.word.posted]!);
    ringBell(this.#mailbox);
  }
}
