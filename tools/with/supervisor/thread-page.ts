/**
 * The call page of a program's thread (iommu/abi/call-page.ts): while the thread makes one call
 * after the other, short calls pass there, without waking the kernel's thread.
 */
import { CALL_PAGES, CallPageClient, PATIENCE } from '../../../iommu/abi/call-page.ts';
import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import { codeOf } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Reservation } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { PageArena, type SharedPage } from '../../../platform/page-arena.ts';
import { askForObject } from '../../../vmm/client/passed-object.ts';

/** A thread with so many calls behind it asks for a page. */
const BUSY_CALLS = 64;
/** The supervisor's thread has the calls of others to take. */
const NO_SLEEP = { ...PATIENCE, sleepMs: 0 };
/** The most threads that have one; the others' calls go by the socket. */
const MOST_PAGES = 256;

/** The pages of all threads of a supervisor. */
export class ThreadPages {
  #arena: PageArena | undefined;

  /** Undefined where the kernel or this process has no page left. */
  ask(socket: number): SharedPage | undefined {
    const { object } = askForObject(socket, { op: 'page' });
    if (object === undefined) return undefined;
    try {
      this.#arena ??= new PageArena(new Reservation(MOST_PAGES * CALL_PAGES * PAGE_SIZE).buffer, CALL_PAGES);
      return this.#arena.map(object);
    } catch (error) {
      if (codeOf(error) !== 'ENOMEM') throw error;
      return undefined;
    } finally {
      close(object);
    }
  }
}

export class ThreadPage {
  readonly #socket: number;
  readonly #pages: ThreadPages;
  #calls = 0;
  #page: SharedPage | undefined;
  #client: CallPageClient | undefined;
  #isBySocket = false;

  /** `socket` is the thread's channel. */
  constructor(socket: number, pages: ThreadPages) {
    this.#socket = socket;
    this.#pages = pages;
  }

  /**
   * The reply to a request that the kernel took from the page. `by-socket`: it has taken it, and
   * the reply comes there. `refused`: the request is to be sent.
   */
  pass(request: Request): Reply | 'by-socket' | 'refused' {
    const page = this.#busyPage();
    if (!page) return 'refused';
    const passed = post(page, request);
    if (passed === 'refused') return passed;
    if (passed === 'by-socket') {
      this.#isBySocket = true;
      return passed;
    }
    const { ret, out } = page;
    page.free();
    return { ret, ...(out ? { out } : {}) };
  }

  /** A reply has come by the socket. */
  answeredBySocket(): void {
    if (this.#isBySocket) this.#client?.free();
    this.#isBySocket = false;
  }

  release(): void {
    this.#client = undefined;
    this.#page?.release();
    this.#page = undefined;
  }

  #busyPage(): CallPageClient | undefined {
    if (this.#calls++ !== BUSY_CALLS) return this.#client;
    this.#page = this.#pages.ask(this.#socket);
    this.#client = this.#page && new CallPageClient(this.#page.part, NO_SLEEP);
    return this.#client;
  }
}

/** A page has no place for what a request or its reply says beyond the call itself. */
function post(page: CallPageClient, request: Request): ReturnType<CallPageClient['pread']> {
  switch (request.op) {
    case 'ioctl':
      return request.named ? 'refused' : page.ioctl(request.fd, request.nr, short(request.arg));
    case 'pread':
      return page.pread(request.fd, short(request.offset), request.length);
    case 'pwrite':
      return page.pwrite(request.fd, short(request.offset), request.data);
    default:
      return 'refused';
  }
}

/** A bigint as a number, where that is the same. */
function short<T>(value: T | bigint): T | bigint | number {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) && number >= 0 ? number : value;
}
