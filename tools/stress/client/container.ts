/** The container ioctls that an actor makes. Ranges are in pages of 4 KiB. */
import { hex, hexRange } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { getType1Info, type Type1Facts } from '../../../vmm/client/container.ts';
import {
  type DirtyBits,
  type DmaSpan,
  getDirtyBitmap,
  mapDma,
  startDirtyTracking,
  stopDirtyTracking,
  unmapDma,
  unmapDmaDirty,
} from '../../../vmm/client/dma.ts';
import type { Answer, Caller } from './caller.ts';

export interface IovaSpan {
  readonly firstVpn: number;
  readonly endVpn: number;
}

export interface MapRequest {
  readonly vpn: number;
  readonly nrPages: number;
  readonly vaddr: number;
  readonly flags: number;
}

export interface UnmapRequest {
  readonly vpn: number;
  readonly nrPages: number;
  readonly flags: number;
  /** Where the bits of GET_DIRTY_BITMAP go; only with flags 0. */
  readonly bitmap?: DirtyBits;
}

export interface ContainerFacts {
  readonly dmaAvail: number;
  readonly validIova: readonly IovaSpan[];
}

const spanOf = (vpn: number, nrPages: number): DmaSpan => ({
  iova: BigInt(vpn) * BigInt(PAGE_SIZE),
  size: nrPages * PAGE_SIZE,
});
const hexSpan = (vpn: number, nrPages: number): string => {
  const { iova, size } = spanOf(vpn, nrPages);
  return hexRange(iova, size);
};

export class ContainerCalls {
  readonly fd: number;
  readonly #caller: Caller;

  constructor(caller: Caller, fd: number) {
    this.#caller = caller;
    this.fd = fd;
  }

  map({ vpn, nrPages, vaddr, flags }: MapRequest, expected: readonly Answer[]): Answer {
    const text = `MAP ${hexSpan(vpn, nrPages)} at ${hex(vaddr)} flags ${flags}`;
    const mapping = { ...spanOf(vpn, nrPages), vaddr, flags };
    return this.#caller.expect(text, expected, (client) => mapDma(client, this.fd, mapping));
  }

  /** Returns how many pages were removed, or an errno. */
  unmap({ vpn, nrPages, flags, bitmap }: UnmapRequest, expected: readonly Answer[]): Answer {
    const span = spanOf(vpn, nrPages);
    return this.#caller.expect(`UNMAP ${hexSpan(vpn, nrPages)} flags ${flags}`, expected, (client) => {
      const bytes = bitmap ? unmapDmaDirty(client, this.fd, span, bitmap) : unmapDma(client, this.fd, span, flags);
      return bytes / PAGE_SIZE;
    });
  }

  startDirtyTracking(expected: readonly Answer[]): void {
    this.#caller.expect('DIRTY_PAGES START', expected, (client) => startDirtyTracking(client, this.fd));
  }

  stopDirtyTracking(expected: readonly Answer[]): void {
    this.#caller.expect('DIRTY_PAGES STOP', expected, (client) => stopDirtyTracking(client, this.fd));
  }

  /** Bit i of `bitmap` is page vpn + i. */
  dirtyBitmap(vpn: number, nrPages: number, bitmap: DirtyBits, expected: readonly Answer[]): Answer {
    const span = spanOf(vpn, nrPages);
    const text = `GET_BITMAP ${hexSpan(vpn, nrPages)}`;
    return this.#caller.expect(text, expected, (client) => getDirtyBitmap(client, this.fd, span, bitmap));
  }

  facts(): ContainerFacts {
    let facts: Type1Facts | undefined;
    this.#caller.must('GET_INFO', (client) => {
      facts = getType1Info(client, this.fd);
    });
    const { dmaAvail, iovas } = facts!;
    const validIova = iovas.map(({ start, last }) => {
      return { firstVpn: Number(start >> 12n), endVpn: Number((last + 1n) >> 12n) };
    });
    return { dmaAvail, validIova };
  }
}
