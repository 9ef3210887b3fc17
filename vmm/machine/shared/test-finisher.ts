/**
 * The SiFive test finisher of the `virt` machine (docs/machine.md, "Test finisher"): by it a guest
 * ends or resets its machine.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { MmioDevice } from './bus.ts';

const FINISHER_FAIL = 0x3333;
const FINISHER_PASS = 0x5555;
const FINISHER_RESET = 0x7777;

/** The request of the guest. */
export type Finish = { readonly kind: 'poweroff'; readonly status: number } | { readonly kind: 'reset' };

export class TestFinisher implements MmioDevice {
  readonly maxAccess = 4;
  /** The guest's request that has not been taken yet. */
  #finish: Finish | undefined;

  /** The machine ends with this status. */
  powerOff(status: number): void {
    this.#finish = { kind: 'poweroff', status };
  }

  /** Returns the request, once. */
  take(): Finish | undefined {
    const finish = this.#finish;
    this.#finish = undefined;
    return finish;
  }

  load(_offset: number, size: AccessSize): bigint | undefined {
    return size === 1 ? undefined : 0n;
  }

  store(offset: number, size: AccessSize, value: bigint): boolean {
    if (size === 1) return false;
    if (offset !== 0) return true;
    const status = Number(value & 0xffffn);
    if (status === FINISHER_PASS) this.powerOff(0);
    else if (status === FINISHER_FAIL) this.powerOff(Number(value >> 16n) & 0xff);
    else if (status === FINISHER_RESET) this.#finish = { kind: 'reset' };
    return true;
  }
}
