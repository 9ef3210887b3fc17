/**
 * The pages of shared memory of one task channel: its call page, and its register page of each
 * device.
 */
import type { Request } from '../../iommu/abi/wire.ts';
import { close } from '../../platform/libc/fd.ts';
import { Reservation } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { PageArena, type SharedPage } from '../../platform/page-arena.ts';
import type { SharedPart } from '../../platform/shared.ts';
import { askForObject } from './passed-object.ts';

/** The most devices that have a page, and the call page. */
const MOST_PAGES = 64;

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
    if (!this.#registers.has(device) && this.#registers.size < MOST_PAGES - 1) {
      this.#registers.set(device, this.#ask({ op: 'registers', fd: device }));
    }
    return this.#registers.get(device)?.part;
  }

  /** The fd is closed. The page stays mapped: somebody may use it, and finds nobody there. */
  forget(device: number): void {
    this.#registers.delete(device);
  }

  #ask(request: Request): SharedPage | undefined {
    const { object } = askForObject(this.#socket, request);
    if (object === undefined) return undefined;
    try {
      this.#arena ??= new PageArena(new Reservation(MOST_PAGES * PAGE_SIZE).buffer);
      return this.#arena.map(object);
    } finally {
      close(object);
    }
  }
}
