/**
 * The kernel's side of the board port. It makes calls that the kernel waits for (memory objects),
 * and errands that are answered later.
 */
import type { MessagePort } from 'node:worker_threads';

import { errnoName, SysError } from '../../../platform/errno.ts';
import { awaitBoardReply } from '../../bus/board-reply.ts';
import type { PhysicalMemory } from '../../bus/physical.ts';
import type { BoardAnswer, BoardCall, BoardErrand } from './protocol.ts';

/** The board's main thread maps memory and answers; it never waits for the kernel. */
const TIMEOUT_MS = 5000;

type WithoutSeq<T> = T extends unknown ? Omit<T, 'seq'> : never;
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;
export type Call = WithoutSeq<BoardCall>;
export type Errand = WithoutId<BoardErrand>;

interface Waiting {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: SysError) => void;
}

export class BoardClient {
  readonly #port: MessagePort;
  readonly #reply: SharedArrayBuffer;
  readonly #physical: PhysicalMemory;
  readonly #errands = new Map<number, Waiting>();
  #closed = false;
  #lastSeq = 0;
  #lastId = 0;

  constructor(port: MessagePort, reply: SharedArrayBuffer, physical: PhysicalMemory) {
    this.#port = port;
    this.#reply = reply;
    this.#physical = physical;
    port.on('message', (answer: BoardAnswer) => this.#answered(answer));
  }

  /**
   * Gives a memory object a pa range. Returns its first pfn. The board takes the fd, also when it
   * refuses.
   */
  attachObject(fd: number, size: number, { dev, ino }: { readonly dev: number; readonly ino: number }): number {
    return this.#call({ op: 'attach-object', fd, size, dev, ino });
  }

  /**
   * Gives private memory of a process a pa range. Returns its first pfn. The board takes the fd.
   */
  attachProcess(memFd: number, vaddr: number, size: number): number {
    return this.#call({ op: 'attach-process', memFd, vaddr, size });
  }

  /** Makes pages of the reserved memory RAM, all zero. ENOMEM. */
  attachReserved(startPfn: number, nrPages: number): void {
    this.#call({ op: 'attach-reserved', start: startPfn * 4096, size: nrPages * 4096 });
  }

  /**
   * Takes the range that starts at `startPfn` out of the map. No page table may lead to it any
   * more.
   */
  detach(startPfn: number): void {
    this.#call({ op: 'detach', start: startPfn * 4096 });
  }

  /** ENODEV: the port is closed. ETIMEDOUT, and what the board refuses with. */
  #call(call: Call): number {
    if (this.#closed) throw new SysError('ENODEV', 'the board does not listen any more');
    const seq = ++this.#lastSeq;
    this.#port.postMessage({ ...call, seq });
    const pfn = awaitBoardReply(this.#reply, seq, TIMEOUT_MS);
    this.#physical.poll();
    return pfn;
  }

  /** Sends an errand. The promise gives its answer some time later, or rejects with its errno. */
  send(errand: Errand): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#errands.set(id, { resolve, reject });
      this.#port.postMessage({ ...errand, id });
    });
  }

  #answered(answer: BoardAnswer): void {
    const waiting = this.#errands.get(answer.id);
    this.#errands.delete(answer.id);
    if ('reply' in answer) waiting?.resolve(answer.reply);
    else waiting?.reject(new SysError(errnoName(answer.errno), answer.message));
  }

  close(): void {
    this.#closed = true; // nobody would answer
    this.#port.close();
  }
}
