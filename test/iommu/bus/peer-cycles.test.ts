import { beforeEach, describe, expect, it } from 'vitest';

import { BarGate, createBarGate } from '../../../iommu/bus/bar-gate.ts';
import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import { closePeerBox, createPeerBox, PeerRequester, PeerServer } from '../../../iommu/bus/peer-cycles.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { MAILBOX_BYTES } from '../../../platform/mailbox.ts';

const START = 0x10000;
const VPN = START / 4096;
/** The BAR has a page, of which the first 0x100 bytes answer. */
const BAR_BYTES = 0x100;

/** One thread: a function that reaches its own registers, so that it serves itself. */
describe('DMA that ends in registers', () => {
  let accesses: string[];
  let dma: DmaPort;
  let gate: BarGate;
  let box: SharedArrayBuffer;
  let counters: SharedArrayBuffer;
  let stopping: boolean;
  let serves: boolean;
  let serve: () => void;

  beforeEach(() => {
    accesses = [];
    stopping = false;
    serves = true;
    box = createPeerBox();
    counters = createPortCounters();
    const barGate = createBarGate();
    gate = new BarGate(barGate);
    gate.setDecoding(true);
    const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
    const server = new PeerServer(box, [undefined, mailbox]);
    const handler = {
      answers: (_bar: number, at: number, size: number) => at + size <= BAR_BYTES,
      read: (bar: number, at: number, size: number) => {
        accesses.push(`r${bar} ${at.toString(16)}+${size}`);
        return { lo: 0x03020100 + 0x04040404 * (at % 8 === 4 ? 1 : 0), hi: 0x07060504 };
      },
      write: (bar: number, at: number, size: number, lo: number, hi: number) =>
        void accesses.push(`w${bar} ${at.toString(16)}+${size} ${lo.toString(16)} ${hi.toString(16)}`),
    };
    serve = () => server.serve(handler);
    const requester = new PeerRequester({
      number: 1,
      mailbox,
      serve: () => {
        if (serves) serve();
      },
      stopping: () => stopping,
      timeoutMs: 5,
    });
    const range = { kind: 'registers', start: START, size: 4096, bar: 2, box, mailbox, gate: barGate } as const;
    const physical = new PhysicalMemory([range], undefined, requester);
    dma = new DmaPort({ agent: 0, did: 8, physical, wire: () => {}, counters });
  });

  const bytes = (...values: number[]) => Uint8Array.from(values);
  const counts = () => {
    dma.idle();
    const { transactions, unsupported, bytesRead, bytesWritten } = readPortCounters(counters);
    return { transactions, unsupported, bytesRead, bytesWritten };
  };

  it('is cut at multiples of 8, into pieces at multiples of their size', () => {
    const data = new Uint8Array(17);

    expect(dma.read(VPN, 0x1e, data)).toBe(17);

    expect(accesses).toEqual(['r2 1e+2', 'r2 20+8', 'r2 28+4', 'r2 2c+2', 'r2 2e+1']);
    expect([...data.subarray(2, 10)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(counts()).toEqual({ transactions: 3, unsupported: 0, bytesRead: 17, bytesWritten: 0 });
  });

  it('writes each piece with its value', () => {
    expect(dma.write(VPN, 4, bytes(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))).toBe(13);

    expect(accesses).toEqual(['w2 4+4 4030201 0', 'w2 8+8 8070605 c0b0a09', 'w2 10+1 d 0']);
  });

  it('makes an aligned 32-bit store one access', () => {
    expect(dma.write32(VPN, 0xc, 0xfedcba98)).toBe(true);

    expect(accesses).toEqual(['w2 c+4 fedcba98 0']);
  });

  it('stops at the end of the BAR: an Unsupported Request, and the bytes before it have moved (P2P-7)', () => {
    expect(dma.write(VPN, BAR_BYTES - 8, new Uint8Array(24))).toBe(8);

    expect(accesses).toEqual(['w2 f8+8 0 0']);
    expect(counts()).toEqual({ transactions: 2, unsupported: 1, bytesRead: 0, bytesWritten: 8 });
  });

  it('is refused while the function does not decode or is withdrawn, and answered afterwards', () => {
    gate.setDecoding(false);
    const off = dma.read(VPN, 0, new Uint8Array(4));
    gate.setDecoding(true);
    gate.setWithdrawn(true);
    const withdrawn = dma.write32(VPN, 0, 1);
    gate.setWithdrawn(false);

    expect([off, withdrawn, dma.read(VPN, 0, new Uint8Array(4))]).toEqual([0, false, 4]);
    expect(accesses).toEqual(['r2 0+4']);
  });

  it('is refused when nobody serves in time, and never made later; the next one is answered again', () => {
    serves = false;
    expect(dma.write32(VPN, 0, 1)).toBe(false);
    expect(dma.write32(VPN, 0, 2)).toBe(false); // the first one still lies in the slot
    serves = true;
    serve();
    expect(accesses).toEqual([]);

    expect(dma.write32(VPN, 0, 3)).toBe(true);
    expect(accesses).toEqual(['w2 0+4 3 0']);
  });

  it('is refused at once when the worker that makes it is to end, or the one that is asked has ended', () => {
    serves = false;
    stopping = true;
    expect(dma.write32(VPN, 0, 1)).toBe(false);
    stopping = false;
    closePeerBox(box, []);

    expect(dma.write32(VPN, 0, 2)).toBe(false);
    expect(counts().unsupported).toBe(2);
  });
});
