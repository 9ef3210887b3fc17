/**
 * What capture interrupts for: bits of IRQ_STATUS, told by an MSI each or, without MSI, by the
 * level. And its faults.
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

  /** An event: an MSI for every one, or the level. */
  tell(bit: number): void {
    this.#reg.IRQ_STATUS |= bit;
    if (!this.#enabled()) return;
    if (!this.#interrupts.msiEnabled()) {
      this.driveLevel();
    } else if (!this.#interrupts.message()) {
      this.#reg.FAULTS++; // and no event of its own: it could not be told either
      this.#reg.IRQ_STATUS |= IRQ_FAULT;
      this.fault = true;
    }
  }

  /** A condition that lasts: told once until software has cleared the bit. */
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

  /** CTRL, IRQ_STATUS or configuration space may have changed. */
  driveLevel(): void {
    this.#interrupts.setLevel(this.#enabled() && this.#reg.IRQ_STATUS !== 0);
  }

  #enabled(): boolean {
    return (this.#reg.CTRL & CTRL_IRQ_ENABLE) !== 0;
  }
}
