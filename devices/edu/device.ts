/**
 * edu, QEMU's educational PCI device (docs/machine.md, "edu"): a liveness register, factorials, a
 * DMA engine with a 4 KiB buffer, MSI or INTx.
 */
import { type Bus, type Device, type DeviceType, NEVER } from '../kit/device.ts';
import { splitIova } from '../kit/dma.ts';
import { FUNCTION_PROPERTIES } from '../kit/function-properties.ts';
import { milliseconds, type PropertyValues, unsigned64 } from '../kit/properties.ts';
import { RegisterFile } from '../kit/register-file.ts';
import {
  BUFFER_BYTES,
  BUFFER_END,
  BUFFER_START,
  DMA_IRQ,
  DMA_RUN,
  DMA_TO_BUS,
  IRQ_DMA,
  IRQ_FACTORIAL,
  REGISTERS,
  STATUS_COMPUTING,
  STATUS_IRQ_FACTORIAL,
  type Values,
} from './regs.ts';

const PROPERTIES = {
  'dma-latency-ms': milliseconds(100, 'time from the write to DMA_COMMAND to the transfer'),
  'dma-mask': unsigned64(0x0fff_ffffn, 'is ANDed with bus addresses, silently'),
  ...FUNCTION_PROPERTIES,
};

/**
 * The time of one multiplication in the factorial loop, which makes n of them: n = 0x2222_2222
 * takes 0.6 s.
 */
const MULTIPLICATION_NS = 1;

class Edu implements Device {
  readonly #bus: Bus;
  readonly #latencyNs: number;
  readonly #dmaMask: bigint;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  #factorialDoneNs = NEVER;
  #dmaDueNs = NEVER;

  readonly #registers = new RegisterFile(REGISTERS, {
    locked: () => (this.#reg.DMA_COMMAND & DMA_RUN) !== 0n,
    read: {},
    write: {
      LIVENESS: (value) => {
        this.#reg.LIVENESS = ~value;
      },
      FACTORIAL: (n) => this.#startFactorial(n),
      STATUS: (value) => {
        this.#reg.STATUS = (this.#reg.STATUS & ~STATUS_IRQ_FACTORIAL) | (value & STATUS_IRQ_FACTORIAL);
      },
      IRQ_RAISE: (bits) => this.#raise(bits),
      IRQ_ACK: (bits) => this.#acknowledge(bits),
      DMA_COMMAND: (command) => this.#startDma(command),
    },
  });
  readonly #reg: Values = this.#registers.values;
  readonly bars = { 0: this.#registers };

  constructor(bus: Bus, properties: PropertyValues<typeof PROPERTIES>) {
    this.#bus = bus;
    this.#latencyNs = properties['dma-latency-ms'] * 1e6;
    this.#dmaMask = properties['dma-mask'];
  }

  #startFactorial(n: number): void {
    if ((this.#reg.STATUS & STATUS_COMPUTING) !== 0) return;
    this.#reg.FACTORIAL = n;
    this.#reg.STATUS |= STATUS_COMPUTING;
    this.#factorialDoneNs = this.#bus.clock() + n * MULTIPLICATION_NS;
  }

  #startDma(command: bigint): void {
    if ((command & DMA_RUN) === 0n) return;
    this.#reg.DMA_COMMAND = command;
    this.#dmaDueNs = this.#bus.clock() + this.#latencyNs;
  }

  #acknowledge(bits: number): void {
    this.#reg.IRQ_STATUS &= ~bits;
    if (this.#reg.IRQ_STATUS === 0) this.#bus.interrupts.setLevel(false);
  }

  /**
   * Raises `bits` and tells of all pending bits, even if none of them is new. With MSI-X the vector
   * is the number of the lowest bit of `bits`.
   */
  #raise(bits: number): void {
    this.#reg.IRQ_STATUS |= bits;
    if (this.#reg.IRQ_STATUS === 0) return;
    if (this.#bus.interrupts.messagesEnabled()) this.#bus.interrupts.message(31 - Math.clz32(bits & -bits));
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
    this.#reg.FACTORIAL = factorial32(this.#reg.FACTORIAL);
    this.#reg.STATUS &= ~STATUS_COMPUTING;
    if ((this.#reg.STATUS & STATUS_IRQ_FACTORIAL) !== 0) this.#raise(IRQ_FACTORIAL);
  }

  /**
   * Makes the whole transfer at once. If it is outside the buffer's range, no data is moved, and
   * the transfer ends like any other.
   */
  #finishDma(): void {
    this.#dmaDueNs = NEVER;
    const toBus = (this.#reg.DMA_COMMAND & DMA_TO_BUS) !== 0n;
    const inner = toBus ? this.#reg.DMA_SOURCE : this.#reg.DMA_DESTINATION;
    const outer = toBus ? this.#reg.DMA_DESTINATION : this.#reg.DMA_SOURCE;
    if (inner >= BUFFER_START && inner + this.#reg.DMA_COUNT <= BUFFER_END) {
      const start = Number(inner - BUFFER_START);
      this.#transfer(toBus, outer & this.#dmaMask, this.#buffer.subarray(start, start + Number(this.#reg.DMA_COUNT)));
    }
    this.#reg.DMA_COMMAND &= ~DMA_RUN;
    if ((this.#reg.DMA_COMMAND & DMA_IRQ) !== 0n) this.#raise(IRQ_DMA);
  }

  /**
   * Moves the bytes. If the bus refuses, a write is lost and a read gives zeros; the device has no
   * way to say so.
   */
  #transfer(toBus: boolean, iova: bigint, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const { dma, timeline, clock } = this.#bus;
    const { vpn, offset } = splitIova(iova);
    const moved = toBus ? dma.write(vpn, offset, bytes) : dma.read(vpn, offset, bytes);
    if (!toBus) bytes.fill(0, moved);
    if (moved > 0) timeline.record(clock(), 1, moved);
  }
}

/**
 * n! mod 2^32, by the loop from n down. The product is 0 after some 35 factors at the latest, as
 * every second factor is even.
 */
function factorial32(n: number): number {
  let product = 1;
  for (let factor = n; factor > 0 && product !== 0; factor--) product = Math.imul(product, factor);
  return product;
}

export const device: DeviceType<typeof PROPERTIES> = {
  name: 'edu',
  summary: "QEMU's educational device",
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
      registers: REGISTERS,
    },
  ],
  msi: true,
  properties: PROPERTIES,
  defects: ['drop-interrupt'],
  create: (bus, properties) => new Edu(bus, properties),
};
