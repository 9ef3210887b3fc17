import type { InterruptFile } from '../../guest/riscv/environment.ts';

/** An interrupt file with 63 identities. `drive` hears whether its line is up. */
export class FakeInterruptFile implements InterruptFile {
  readonly #registers = new Map<number, bigint>();
  #pending = 0n;
  readonly #drive: (up: boolean) => void;

  constructor(drive: (up: boolean) => void) {
    this.#drive = drive;
  }

  setPending(identity: number): void {
    this.#pending |= 1n << BigInt(identity);
    this.#drive(this.top() !== 0);
  }

  readRegister(select: number): bigint {
    return select === 0x80 ? this.#pending : (this.#registers.get(select) ?? 0n);
  }

  writeRegister(select: number, value: bigint): void {
    this.#registers.set(select, value);
    this.#drive(this.top() !== 0);
  }

  top(): number {
    const active = this.#registers.get(0x70) === 1n ? this.#pending & (this.#registers.get(0xc0) ?? 0n) : 0n;
    const identity = active === 0n ? 0 : (active & -active).toString(2).length - 1;
    return (identity << 16) | identity;
  }

  claim(): number {
    const top = this.top();
    if (top !== 0) this.#pending &= ~(1n << BigInt(top & 0xffff));
    this.#drive(this.top() !== 0);
    return top;
  }

  /** All that it keeps. */
  save(): readonly [bigint, ReadonlyMap<number, bigint>] {
    return [this.#pending, new Map(this.#registers)];
  }
}
