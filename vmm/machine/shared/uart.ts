/**
 * UART 16550A (National Semiconductor PC16550D), with reset values and THR-empty behaviour as
 * QEMU's `serial` (docs/machine.md, "UART"). Its receive FIFO is the console's ring: the sender has
 * flow control and overruns nothing. DEVIATION: resetting that FIFO drops no byte. NOT MODELLED:
 * baud rate, breaks and errors, loopback data.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { bytes, flag, integer } from '../../../platform/shape.ts';
import type { MmioDevice } from './bus.ts';
import type { ConsoleInput } from './console-input.ts';
import type { ConsoleOutput } from './console-output.ts';

const IER_RDI = 1;
const IER_THRI = 2;
const IIR_NO_INT = 1;
const IIR_THRI = 2;
const IIR_RDI = 4;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFO = 0xc0;
const FCR_ENABLE = 1;
/** Bytes that raise "received data", by FCR bits 7:6. Fewer are told as a time-out. */
const TRIGGER = [1, 4, 8, 14] as const;
const LCR_DLAB = 0x80;
const MCR_LOOP = 0x10;
const LSR_DR = 1;
const LSR_THRE_TEMT = 0x60;
const MSR_IDLE = 0xb0; // DCD, DSR, CTS

export const UART_SECTION = defineSection('uart', 1, {
  divisor: integer,
  ier: integer,
  fcr: integer,
  lcr: integer,
  mcr: integer,
  scr: integer,
  thrEmptyPending: flag,
  /** Bytes that the guest has sent and stdout has not taken. */
  unsent: bytes,
});

export type UartState = StateOf<typeof UART_SECTION>;

export class Uart implements MmioDevice {
  readonly maxAccess = 1;
  readonly #input: ConsoleInput;
  readonly #output: ConsoleOutput;
  #divisor = 0x0c;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr = 0x08;
  #scr = 0;
  /** The transmitter ran empty, and IIR has not told the guest yet. */
  #thrEmptyPending = false;
  readonly #line: (up: boolean) => void;
  #up = false;

  /** `line` is the interrupt's wire; nobody listens by default. */
  constructor(input: ConsoleInput, output: ConsoleOutput, line: (up: boolean) => void = () => {}) {
    this.#input = input;
    this.#output = output;
    this.#line = line;
  }

  /** Drives the interrupt. To be called when the console's ends may have changed, too. */
  update(): void {
    const up = this.#interruptId() !== IIR_NO_INT;
    if (up === this.#up) return;
    this.#up = up;
    this.#line(up);
  }

  reset(): void {
    this.#divisor = 0x0c;
    this.#ier = 0;
    this.#fcr = 0;
    this.#lcr = 0;
    this.#mcr = 0x08;
    this.#scr = 0;
    this.#thrEmptyPending = false;
    this.update();
  }

  save(): UartState {
    return {
      version: 1,
      divisor: this.#divisor,
      ier: this.#ier,
      fcr: this.#fcr,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scr: this.#scr,
      thrEmptyPending: this.#thrEmptyPending,
      unsent: this.#output.save(),
    };
  }

  restore(state: UartState): void {
    this.#divisor = state.divisor;
    this.#ier = state.ier;
    this.#fcr = state.fcr;
    this.#lcr = state.lcr;
    this.#mcr = state.mcr;
    this.#scr = state.scr;
    this.#thrEmptyPending = state.thrEmptyPending;
    this.#output.restore(state.unsent);
    this.update();
  }

  load(offset: number, _size: AccessSize): bigint | undefined {
    const value = this.#read(offset);
    this.update();
    return BigInt(value);
  }

  store(offset: number, _size: AccessSize, value: bigint): boolean {
    this.#write(offset, Number(value));
    this.update();
    return true;
  }

  #read(offset: number): number {
    switch (offset) {
      case 0:
        return this.#dlab() ? this.#divisor & 0xff : (this.#input.take() ?? 0);
      case 1:
        return this.#dlab() ? this.#divisor >> 8 : this.#ier;
      case 2: {
        const iir = this.#interruptId();
        if (iir === IIR_THRI) this.#thrEmptyPending = false;
        return iir | (this.#fcr & FCR_ENABLE ? IIR_FIFO : 0);
      }
      case 3:
        return this.#lcr;
      case 4:
        return this.#mcr;
      case 5:
        return (this.#input.ready() ? LSR_DR : 0) | (this.#output.ready ? LSR_THRE_TEMT : 0);
      case 6:
        return this.#mcr & MCR_LOOP ? loopedModemStatus(this.#mcr) : MSR_IDLE;
      case 7:
        return this.#scr;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case 0:
        if (this.#dlab()) this.#divisor = (this.#divisor & 0xff00) | value;
        else if ((this.#mcr & MCR_LOOP) === 0) {
          this.#output.put(value);
          this.#thrEmptyPending = true; // empty again at once: the line has no speed
        }
        break;
      case 1:
        if (this.#dlab()) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else {
          // Enabling the interrupt while THR is empty raises it at once.
          if (value & ~this.#ier & IER_THRI) this.#thrEmptyPending = true;
          this.#ier = value & 0x0f;
        }
        break;
      case 2:
        this.#fcr = value & 0xc9;
        break;
      case 3:
        this.#lcr = value;
        break;
      case 4:
        this.#mcr = value & 0x1f;
        break;
      case 7:
        this.#scr = value;
        break;
    }
  }

  #interruptId(): number {
    if (this.#ier & IER_RDI && this.#input.ready()) {
      const enough = TRIGGER[this.#fcr >> 6]!;
      return this.#fcr & FCR_ENABLE && this.#input.waiting < enough ? IIR_TIMEOUT : IIR_RDI;
    }
    // a line that nobody empties keeps the transmitter busy
    const empty = this.#thrEmptyPending && this.#output.ready;
    return this.#ier & IER_THRI && empty ? IIR_THRI : IIR_NO_INT;
  }

  #dlab(): boolean {
    return (this.#lcr & LCR_DLAB) !== 0;
  }
}

/** In loopback MSR shows MCR's outputs: RTS→CTS, DTR→DSR, OUT1→RI, OUT2→DCD. */
const loopedModemStatus = (mcr: number): number => ((mcr & 0x0c) << 4) | ((mcr & 2) << 3) | ((mcr & 1) << 5);
