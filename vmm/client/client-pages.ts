/**
 * The pages of shared memory of one task channel: its call page, and of each device its register
 * page and its interrupt page.
 */
import { CALL_PAGES } from '../../iommu/abi/call-page.ts';
import type { Request } from '../../iommu/abi/wire.ts';
import { close } from '../../platform/libc/fd.ts';
import { Reservation } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { PageArena, type SharedPage } from '../../platform/page-arena.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { askForObject } from './passed-object.ts';

/** The most devices that have pages; and room for these and the call page. */
const MOST_DEVICES = 63;
const MOST_PAGES = 2 * MOST_DEVICES + 1;

export class ClientPages {
  readonly #socket: number;
  #arena: PageArena | undefined;
  /** By device fd. Undefined: the kernel gave none. */
  readonly #registers = new Map<number, SharedPage | undefined>();

  /** `socket`: the channel, between two requests, of a host that gives pages. */
  constructor(socket: number) {
    this.#socket = socket;
  }

  /** The call page; undefined where the kernel gives none. */
  calls(): SharedPart | undefined {
    return this.#ask({ op: 'page' })?.part;
  }

  /** The register page of a device; undefined where the kernel gives none. */
  registers(device: number): SharedPart | undefined {
    if (!this.#registers.has(device) && this.#registers.size < MOST_DEVICES) {
      this.#registers.set(device, this.#ask({ op: 'registers', fd: device }));
    }
    return this.#registers.get(device)?.part;
  }

  /**
   * An interrupt page of a device, in place of one before, of whichever channel; undefined where
   * the kernel gives none. To be asked for once.
   */
  interrupts(device: number): SharedPart | undefined {
    return this.#ask({ op: 'interrupts', fd: device })?.part;
  }

  /**
   * As `interrupts`, for a thread that waits while another process' thread has the page: the part
   * is there at once, and `ask` asks the kernel for the page. Until then, and if the kernel gives
   * none, nothing is posted there.
   */
  interruptsLater(device: number): { readonly part: SharedPart; ask(): void } {
    const page = this.#places().reserve();
    const ask = (): void => this.#take({ op: 'interrupts', fd: device }, (object) => page.fill(object));
    return { part: page.part, ask };
  }

  /** The fd is closed. The page stays mapped: somebody may use it, and finds nobody there. */
  forget(device: number): void {
    this.#registers.delete(device);
  }

  #ask(request: Request): SharedPage | undefined {
    return this.#take(request, (object) => this.#places().map(object));
  }

  /** Asks for an object, and closes its fd; undefined where the kernel gives none. */
  #take<T>(request: Request, use: (object: number) => T): T | undefined {
    const { object } = askForObject(this.#socket, request);
    if (object === undefined) return undefined;
    try {
      return use(object);
    } finally {
      close(object);
    }
  }

  #places(): PageArena {
    this.#arena ??= new PageArena(new Reservation(MOST_PAGES * CALL_PAGES * PAGE_SIZE).buffer, CALL_PAGES);
    return this.#arena;
  }
}
