import type { ControlStatus } from './csr.ts';
import type { Semihosting } from './environment.ts';
import { FloatRegisters } from './float/registers.ts';
import { MODE_M } from './isa.ts';
import type { Memory } from './memory.ts';
import { Mmu } from './mmu.ts';
import { newTrapWords } from './trap-registers.ts';

/** The reservation that LR makes for SC (unpriv-isa §14.2). */
export interface Reservation {
  readonly gpa: number;
  readonly size: 4 | 8;
  readonly value: bigint;
}

/** The registers as memory: a translator keeps them where its code can reach them. */
export interface RegisterFile {
  /** x0–x31, f0–f31, signed. */
  readonly x: BigInt64Array;
  readonly f: BigInt64Array;
  /** fflags, frm */
  readonly fcsr: Int32Array;
  /** The reservation of LR: gpa, −1 for none; the value it saw; bytes. */
  readonly reserved: BigInt64Array;
  /** TrapRegisters. */
  readonly trap: BigUint64Array;
}

/** All zero, in memory of their own. */
export const newRegisters = (): RegisterFile => ({
  x: new BigInt64Array(32),
  f: new BigInt64Array(32),
  fcsr: new Int32Array(2),
  reserved: new BigInt64Array(3),
  trap: newTrapWords(),
});

/**
 * The state of one hart that instructions read and write. It has no behaviour except access to
 * registers.
 */
export class Core {
  /** x0–x31. x0 is written like any other and zeroed before the next instruction reads it. */
  readonly x: BigInt64Array;
  /**
   * The same registers as pairs of 32-bit halves, low half first: 32-bit results and address
   * arithmetic need no bigint.
   */
  readonly halves: Int32Array;
  /**
   * The pc, always an exact, even number. A jump to a target that a number cannot hold (≥ 2^53)
   * raises its fetch access fault at once, so the pc never gets such a value.
   */
  pc = 0;
  /** True from a WFI until something ends the wait. */
  waiting = false;
  readonly csr: ControlStatus;
  readonly float: FloatRegisters;
  /** Another one after a change of the journal only. */
  memory: Memory;
  readonly mmu: Mmu;
  /** Who answers semihosting calls; undefined: an EBREAK is a breakpoint. */
  semihosting: Semihosting | undefined;
  /**
   * How memory is reached now, as `look` has found it: the mode of loads and stores, and whether
   * they and fetches go through the MMU. Else addresses are physical ones, without any check.
   */
  dataMode: number = MODE_M;
  paged = false;
  codePaged = false;
  /** FENCE.I instructions executed: a translator looks at code anew. */
  codeFences = 0;
  readonly #reserved: BigInt64Array;
  /** Why an access of access.ts failed. */
  readonly fault = { cause: 0, offset: 0 };

  constructor(csr: ControlStatus, memory: Memory, { x, f, fcsr, reserved }: RegisterFile = newRegisters()) {
    this.#reserved = reserved;
    this.reservation = undefined;
    this.x = x;
    this.halves = new Int32Array(x.buffer, x.byteOffset, 64);
    this.float = new FloatRegisters(f, fcsr);
    csr.float = this.float;
    this.csr = csr;
    this.memory = memory;
    this.mmu = new Mmu(csr);
  }

  get reservation(): Reservation | undefined {
    const [gpa, value, size] = this.#reserved;
    return gpa! < 0n ? undefined : { gpa: Number(gpa), value: value!, size: Number(size) as 4 | 8 };
  }

  set reservation(made: Reservation | undefined) {
    this.#reserved[0] = made ? BigInt(made.gpa) : -1n;
    if (!made) return;
    this.#reserved[1] = made.value;
    this.#reserved[2] = BigInt(made.size);
  }

  /**
   * To be called before the first instruction after a change of mode or of a CSR. M mode sees
   * memory as it is, unless a PMP entry is locked (priv-isa §3.7.1.2).
   */
  look(): void {
    const { csr } = this;
    if (csr.stale) {
      this.mmu.flush();
      csr.stale = false;
    }
    this.dataMode = csr.dataMode();
    this.paged = this.dataMode !== MODE_M || csr.pmp.locked;
    this.codePaged = csr.mode !== MODE_M || csr.pmp.locked;
  }
}
