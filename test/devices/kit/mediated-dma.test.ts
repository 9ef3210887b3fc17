import { afterEach, describe, expect, it, vi } from 'vitest';

import { CONTROL_BYTES, DeviceControl } from '../../../devices/kit/control.ts';
import { MediatedDma } from '../../../devices/kit/mediated-dma.ts';
import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import {
  CHANNEL_DATA_BYTES,
  type ChannelRequest,
  ChannelServer,
  createMediatedChannel,
  OP_READ,
  OP_WRITE,
} from '../../../iommu/bus/mediated-channel.ts';
import { MAILBOX_BYTES } from '../../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../../platform/spinners.ts';

const EFAULT = 14;

/**
 * The device's end, with a kernel at the other one that answers at once, in the same thread: memory
 * is [0, size).
 */
class Pair {
  readonly mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
  readonly control = new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES));
  readonly counters = createPortCounters();
  readonly memory: Uint8Array;
  readonly requests: string[] = [];
  readonly dma: MediatedDma;
  readonly spinners = createSpinners();
  readonly server: ChannelServer;
  /** Messages to the kernel. */
  told = 0;
  /** Called in place of the kernel's answer. */
  silent: (() => void) | undefined;
  served = 0;
  onServe: () => void = () => {};

  constructor(size = 0x40_000) {
    this.memory = new Uint8Array(size);
    const channel = createMediatedChannel();
    const server = new ChannelServer(channel, this.mailbox);
    this.server = server;
    this.dma = new MediatedDma({
      channel,
      mailbox: this.mailbox,
      control: this.control,
      counters: this.counters,
      spinners: new Spinners(this.spinners, 1),
      serve: () => {
        this.served++;
        this.onServe();
      },
      tell: () => {
        this.told++;
        if (this.silent) this.silent();
        else this.answer();
      },
    });
  }

  answer(): void {
    this.server.answer(this.#carryOut(this.server.take()!, this.server.data));
  }

  #carryOut({ op, vpn, offset, length, message }: ChannelRequest, data: Uint8Array): number {
    const at = vpn * 4096 + offset;
    this.requests.push(`${['read', 'write', 'message'][op]} 0x${at.toString(16)} ${length || message}`);
    if (at + length > this.memory.length && length > 0) return EFAULT;
    if (op === OP_WRITE) this.memory.set(data.subarray(0, length), at);
    if (op === OP_READ) data.set(this.memory.subarray(at, at + length));
    return 0;
  }
}

afterEach(() => void vi.restoreAllMocks());

describe('DMA through the kernel', () => {
  it('reads and writes, as large as the channel at a time, from any offset', () => {
    const pair = new Pair();
    const bytes = Uint8Array.from({ length: CHANNEL_DATA_BYTES + 10 }, (_, i) => i * 13);
    expect(pair.dma.write(1, 4090, bytes)).toBe(bytes.length);
    const back = new Uint8Array(bytes.length);
    expect(pair.dma.read(1, 4090, back)).toBe(bytes.length);
    expect(back).toEqual(bytes);
    expect(pair.requests).toEqual(['write 0x1ffa 65536', 'write 0x11ffa 10', 'read 0x1ffa 65536', 'read 0x11ffa 10']);
    expect(readPortCounters(pair.counters)).toMatchObject({
      transactions: 4,
      bytesRead: bytes.length,
      bytesWritten: bytes.length,
      faults: 0,
    });
  });

  it('carries the whole of an iova', () => {
    const pair = new Pair();
    pair.dma.read(2 ** 52 - 1, 4095, new Uint8Array(1));
    expect(pair.requests).toEqual(['read 0x10000000000000000 1']);
  });

  it('ends at a refusal, with what went before, and counts it', () => {
    const pair = new Pair(CHANNEL_DATA_BYTES);
    expect(pair.dma.write(0, 0, new Uint8Array(CHANNEL_DATA_BYTES + 1))).toBe(CHANNEL_DATA_BYTES);
    expect(pair.dma.read(100, 0, new Uint8Array(1))).toBe(0);
    expect(readPortCounters(pair.counters).faults).toBe(2);
  });

  it('a 32-bit store is memory, or an interrupt in fee00000–feefffff', () => {
    const pair = new Pair();
    expect([pair.dma.write32(2, 8, 0x1122_3344), pair.dma.write32(0xfee00, 0, 0x41)]).toEqual([true, true]);
    expect([...pair.memory.subarray(0x2008, 0x200c)]).toEqual([0x44, 0x33, 0x22, 0x11]);
    expect(pair.requests).toEqual(['write 0x2008 4']);
    pair.dma.idle();
    expect(pair.requests).toEqual(['write 0x2008 4', 'message 0xfee00000 65']);
    expect(pair.dma.write32(0xfef00, 0, 1)).toBe(false);
  });

  it('gives up when the device is to stop, and asks for nothing more', () => {
    const pair = new Pair();
    pair.silent = () => pair.control.requestStop(pair.mailbox);
    expect(pair.dma.read(0, 0, new Uint8Array(8))).toBe(0);
    pair.silent = () => expect.unreachable();
    expect(pair.dma.write(0, 0, new Uint8Array(8))).toBe(0);
    pair.dma.write32(0xfee00, 0, 1);
    pair.dma.idle();
    expect(readPortCounters(pair.counters).faults).toBe(0);
  });

  it('sends an interrupt that a register access in the middle of an access has raised after it', () => {
    const pair = new Pair();
    pair.onServe = () => pair.dma.write32(0xfee00, 0, 7);
    pair.dma.write(2, 0, new Uint8Array(4));
    pair.onServe = () => {};
    pair.dma.idle();
    expect(pair.requests).toEqual(['write 0x2000 4', 'message 0xfee00000 7']);
  });

  it('sends no message to a kernel that looks', () => {
    const pair = new Pair();
    pair.server.setAttentive(true);
    pair.onServe = () => pair.answer();
    expect(pair.dma.write(1, 0, Uint8Array.of(5))).toBe(1);
    expect(pair.told).toBe(0);
    pair.server.setAttentive(false);
    pair.onServe = () => {};
    expect(pair.dma.write(1, 0, Uint8Array.of(6))).toBe(1);
    expect(pair.told).toBe(1);
  });

  it('rings a kernel that waits for that, and sends it no message', () => {
    const pair = new Pair();
    const { words, index, seen } = pair.server.letRing();
    pair.onServe = () => pair.answer();
    for (const byte of [5, 6]) expect(pair.dma.write(1, 0, Uint8Array.of(byte))).toBe(1);

    expect([Atomics.load(words, index) - seen, pair.told]).toEqual([1, 0]);
  });

  it('looks for the answer of a kernel that looks, and then makes room for other threads', () => {
    const pair = new Pair();
    pair.server.setAttentive(true);
    const clock = vi.spyOn(performance, 'now').mockImplementationOnce(() => {
      expect(new Spinners(pair.spinners, 1).enter()).toBe(false);
      pair.answer();
      return 0;
    });
    expect(pair.dma.write(1, 0, Uint8Array.of(5))).toBe(1);
    expect(clock).toHaveBeenCalledOnce();
    expect(new Spinners(pair.spinners, 1).enter()).toBe(true);
  });

  it('looks for register accesses before it sleeps', () => {
    const pair = new Pair();
    pair.dma.read(0, 0, new Uint8Array(8));
    expect(pair.served).toBe(1);
  });
});
