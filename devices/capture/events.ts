/**
 * The interrupts and faults of capture. Each event is a bit of IRQ_STATUS. A message tells each
 * event, with MSI-X that of the bit's number; without messages, the level does.
 */
import type { Interrupts } from '../kit/interrupts.ts';
import { CTRL_IRQ_ENABLE, IRQ_FAULT, type Values } from './regs.ts';

export class Events {
  /** STATUS.FAULT. */
  fault = false;
  readonly #reg: Values;
  readonly #interrupts: Interrupts;

  constructor(reg: Values, interrupts: Interrupts) {
    this.#reg = reg;
    this.#interrupts = interrupts;
  }

  /** Tells of an event: by an MSI for each one, or by the level. */
  tell(bit: number): void {
    this.#reg.IRQ_STATUS |= bit;
    if (!this.#enabled()) return;
    if (!this.#interrupts.messagesEnabled()) {
      this.driveLevel();
    } else if (!this.#interrupts.message(31 - Math.clz32(bit))) {
      this.#reg.FAULTS++; // no event for this: its MSI would be refused, too
      this.#reg.IRQ_STATUS |= IRQ_FAULT;
      this.fault = true;
    }
  }

  /** Tells of a condition that lasts: once, until software has cleared the bit. */
  tellOnce(bit: number): void {
    if ((this.#reg.IRQ_STATUS & bit) === 0) this.tell(bit);
  }

  tellFault(): void {
    this.fault = true;
    this.tellOnce(IRQ_FAULT);
  }

  acknowledge(ones: number): void {
    this.#reg.IRQ_STATUS &= ~ones;
    this.driveLevel();
  }

  /** Drives the level anew: CTRL, IRQ_STATUS or configuration space may have changed. */
  driveLevel(): void {
    this.#interrupts.setLevel(this.#enabled() && this.#reg.IRQ_STATUS !== 0);
  }

  #enabled(): boolean {
    return (this.#reg.CTRL & CTRL_IRQ_ENABLE) !== 0;
  }
}
