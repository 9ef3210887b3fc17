/**
 * edu, QEMU's educational PCI device (docs/machine.md, "edu"): a liveness register, factorials, a
 * DMA engine with a 4 KiB buffer, MSI or INTx.
 */

import type { Halves } from '../../platform/mailbox.ts';
import { ONES, type Registers, word } from '../kit/bar-access.ts';
import { type Bus, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { splitIova } from '../kit/dma.ts';
import { milliseconds, type PropertyValues, unsigned64 } from '../kit/properties.ts';
import {
  BUFFER_BYTES,
  BUFFER_END,
  BUFFER_START,
  DMA_IRQ,
  DMA_RUN,
  DMA_TO_BUS,
  ID_VALUE,
  IRQ_DMA,
  IRQ_FACTORIAL,
  REG_DMA_COMMAND,
  REG_DMA_COUNT,
  REG_DMA_DESTINATION,
  REG_DMA_SOURCE,
  REG_FACTORIAL,
  REG_ID,
  REG_IRQ_ACK,
  REG_IRQ_RAISE,
  REG_IRQ_STATUS,
  REG_LIVENESS,
  REG_STATUS,
  STATUS_COMPUTING,
  STATUS_IRQ_FACTORIAL,
  WIDE_REGISTERS,
} from './regs.ts';

const PROPERTIES = {
  /** From the command write to the transfer. */
  'dma-latency-ms': milliseconds(100),
  /** Bus addresses are ANDed with it, silently. */
  'dma-mask': unsigned64(0x0fff_ffffn),
};

/** One multiplication of the factorial loop, which is n of them long: n = 0x2222_2222 takes 0.6 s. */
const MULTIPLICATION_NS = 1;

class Edu implements Device {
  readonly bars: Device['bars'];
  readonly #bus: Bus;
  readonly #latencyNs: number;
  readonly #dmaMask: bigint;

  #liveness = 0;
  #factorial = 0;
  #status = 0;
  #irqStatus = 0;
  #source = 0n;
  #destination = 0n;
  #count = 0n;
  #command = 0n;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  #factorialDoneNs = NEVER;
  #dmaDueNs = NEVER;

  constructor(bus: Bus, properties: PropertyValues<typeof PROPERTIES>) {
    this.#bus = bus;
    this.#latencyNs = properties['dma-latency-ms'] * 1e6;
    this.#dmaMask = properties['dma-mask'];
    const registers: Registers = {
      read: (offset, size) => this.#read(offset, size),
      write: (offset, size, lo, hi) => this.#write(offset, size, lo, hi),
    };
    this.bars = { 0: registers };
  }

  #read(offset: number, size: number): Halves {
    if (offset < WIDE_REGISTERS && size !== 4) return ONES;
    switch (offset) {
      case REG_ID:
        return word(ID_VALUE);
      case REG_LIVENESS:
        return word(this.#liveness);
      case REG_FACTORIAL:
        return word(this.#factorial);
      case REG_STATUS:
        return word(this.#status);
      case REG_IRQ_STATUS:
        return word(this.#irqStatus);
      case REG_DMA_SOURCE:
        return halvesOf(this.#source);
      case REG_DMA_DESTINATION:
        return halvesOf(this.#destination);
      case REG_DMA_COUNT:
        return halvesOf(this.#count);
      case REG_DMA_COMMAND:
        return halvesOf(this.#command);
      default:
        return ONES;
    }
  }

  #write(offset: number, size: number, lo: number, hi: number): void {
    if (offset >= WIDE_REGISTERS) {
      // A 4-byte write replaces the whole register.
      this.#writeDma(offset, BigInt(lo) | (size === 8 ? BigInt(hi) << 32n : 0n));
      return;
    }
    if (size !== 4) return;
    switch (offset) {
      case REG_LIVENESS:
        this.#liveness = ~lo;
        return;
      case REG_FACTORIAL:
        if ((this.#status & STATUS_COMPUTING) !== 0) return;
        this.#factorial = lo;
        this.#status |= STATUS_COMPUTING;
        this.#factorialDoneNs = this.#bus.clock() + lo * MULTIPLICATION_NS;
        return;
      case REG_STATUS:
        this.#status = (this.#status & ~STATUS_IRQ_FACTORIAL) | (lo & STATUS_IRQ_FACTORIAL);
        return;
      case REG_IRQ_RAISE:
        this.#raise(lo);
        return;
      case REG_IRQ_ACK:
        this.#irqStatus &= ~lo;
        if (this.#irqStatus === 0) this.#bus.interrupts.setLevel(false);
        return;
    }
  }

  /** While a transfer waits, its registers are latched. */
  #writeDma(offset: number, value: bigint): void {
    if ((this.#command & DMA_RUN) !== 0n) return;
    switch (offset) {
      case REG_DMA_SOURCE:
        this.#source = value;
        return;
      case REG_DMA_DESTINATION:
        this.#destination = value;
        return;
      case REG_DMA_COUNT:
        this.#count = value;
        return;
      case REG_DMA_COMMAND:
        if ((value & DMA_RUN) === 0n) return;
        this.#command = value;
        this.#dmaDueNs = this.#bus.clock() + this.#latencyNs;
        return;
    }
  }

  /** Pending bits are told again even if nothing new is raised. */
  #raise(bits: number): void {
    this.#irqStatus |= bits;
    if (this.#irqStatus === 0) return;
    if (this.#bus.interrupts.msiEnabled()) this.#bus.interrupts.message();
    else this.#bus.interrupts.setLevel(true);
  }

  run(): number {
    const now = this.#bus.clock();
    if (now >= this.#factorialDoneNs) this.#finishFactorial();
    if (now >= this.#dmaDueNs) this.#finishDma();
    return Math.min(this.#factorialDoneNs, this.#dmaDueNs);
  }

  /** COMPUTING clears first, then the interrupt bit is sampled. */
  #finishFactorial(): void {
    this.#factorialDoneNs = NEVER;
    this.#factorial = factorial32(this.#factorial);
    this.#status &= ~STATUS_COMPUTING;
    if ((this.#status & STATUS_IRQ_FACTORIAL) !== 0) this.#raise(IRQ_FACTORIAL);
  }

  /** The whole transfer at once. Out of the buffer's range: no data is moved; it ends like any other. */
  #finishDma(): void {
    this.#dmaDueNs = NEVER;
    const toBus = (this.#command & DMA_TO_BUS) !== 0n;
    const inner = toBus ? this.#source : this.#destination;
    const outer = toBus ? this.#destination : this.#source;
    if (inner >= BUFFER_START && inner + this.#count <= BUFFER_END) {
      const start = Number(inner - BUFFER_START);
      this.#transfer(toBus, outer & this.#dmaMask, this.#buffer.subarray(start, start + Number(this.#count)));
    }
    this.#command &= ~DMA_RUN;
    if ((this.#command & DMA_IRQ) !== 0n) this.#raise(IRQ_DMA);
  }

  /** What the bus refuses is not written, and reads as zeros; the device has no way to say so. */
  #transfer(toBus: boolean, iova: bigint, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const { dma, timeline, clock } = this.#bus;
    const { vpn, offset } = splitIova(iova);
    const moved = toBus ? dma.write(vpn, offset, bytes) : dma.read(vpn, offset, bytes);
    if (!toBus) bytes.fill(0, moved);
    if (moved > 0) timeline.record(clock(), 1, moved);
  }
}

/** n! mod 2^32, by the loop from n down; the product is 0 after some 35 factors at the latest, as every second one is even. */
function factorial32(n: number): number {
  let product = 1;
  for (let factor = n; factor > 0 && product !== 0; factor--) product = Math.imul(product, factor);
  return product;
}

function halvesOf(value: bigint): Halves {
  return { lo: Number(value & 0xffff_ffffn), hi: Number(value >> 32n) };
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'edu',
  identity: {
    vendor: 0x1234,
    device: 0x11e8,
    classCode: 0x00ff00,
    revision: 0x10,
    subsystemVendor: 0x1af4, // QEMU's defaults
    subsystem: 0x1100,
    interruptPin: 1,
  },
  bars: () => [
    {
      kind: 'registers',
      index: 0,
      space: 'memory',
      size: 1 << 20,
      width: 32,
      prefetchable: false,
      access: { min: 4, max: 8, odd: 'split', small: 'refuse' },
    },
  ],
  msi: true,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  create: (bus, properties) => new Edu(bus, properties),
};
