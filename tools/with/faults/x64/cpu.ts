/** The registers of a stopped thread, as its instructions name them (struct user_regs_struct). */

/** Places of rax … r15, in the order of their numbers. */
const GENERAL = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0] as const;
const RIP = 16;
const CS = 17;
const EFLAGS = 18;
const FS_BASE = 21;
const GS_BASE = 22;
/** Linux's selector of 64-bit code (__USER_CS). */
const USER_CS = 0x33n;
/** Place of xmm0 in struct user_fpregs_struct. */
const XMM = 160;
const XMM_BYTES = 16;
/**
 * Places in an XSAVE area of the standard form (Intel SDM vol. 1, 13.4): which components are in
 * use, and the upper halves of the ymm registers.
 */
const XSTATE_BV = 512;
const XSTATE_SSE_AVX = 6;
const YMM_HIGH = 576;

export type Width = 1 | 2 | 4 | 8;

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSI = 6;
export const RDI = 7;

export const maskOf = (width: number): bigint => (1n << BigInt(8 * width)) - 1n;

/** Vector registers of the thread, which are fetched when they are needed. */
export interface FloatRegisters {
  /** struct user_fpregs_struct. */
  read(): Uint8Array;
  write(regs: Uint8Array): void;
  /** An XSAVE area, which begins with the same; a CPU with AVX has it. */
  readWhole(): Uint8Array;
  writeWhole(area: Uint8Array): void;
}

export class Cpu {
  readonly regs: BigUint64Array;
  readonly #floats: FloatRegisters;

  constructor(regs: BigUint64Array, floats: FloatRegisters) {
    this.regs = regs;
    this.#floats = floats;
  }

  get rip(): bigint {
    return this.regs[RIP]!;
  }

  set rip(value: bigint) {
    this.regs[RIP] = value;
  }

  /** Its instructions mean what they mean in 64-bit mode. */
  get is64Bit(): boolean {
    return this.regs[CS] === USER_CS;
  }

  get flags(): bigint {
    return this.regs[EFLAGS]!;
  }

  set flags(value: bigint) {
    this.regs[EFLAGS] = value;
  }

  /** What an instruction with segment prefix `prefix` adds to its address. */
  segment(prefix: number): bigint {
    if (prefix === 0x64) return this.regs[FS_BASE]!;
    return prefix === 0x65 ? this.regs[GS_BASE]! : 0n;
  }

  /** A whole register. */
  get(number: number): bigint {
    return this.regs[GENERAL[number]!]!;
  }

  set(number: number, value: bigint): void {
    this.regs[GENERAL[number]!] = value;
  }

  /** An operand. Without REX, bytes 4 to 7 are ah, ch, dh, bh. */
  read(number: number, width: Width, hasRex: boolean): bigint {
    if (width === 1 && !hasRex && number >= 4) return (this.get(number - 4) >> 8n) & 0xffn;
    return this.get(number) & maskOf(width);
  }

  /** 4 bytes clear the register's upper half; 1 and 2 leave the rest as it is. */
  write(number: number, width: Width, value: bigint, hasRex: boolean): void {
    if (width === 1 && !hasRex && number >= 4) {
      this.set(number - 4, (this.get(number - 4) & ~0xff00n) | ((value & 0xffn) << 8n));
      return;
    }
    const mask = maskOf(width);
    const kept = width >= 4 ? 0n : this.get(number) & ~mask;
    this.set(number, kept | (value & mask));
  }

  xmm(number: number): Uint8Array {
    const at = XMM + XMM_BYTES * number;
    return this.#floats.read().slice(at, at + XMM_BYTES);
  }

  /** `bytes` are its lower ones; the others become 0. */
  setXmm(number: number, bytes: Uint8Array): void {
    const regs = this.#floats.read();
    regs.fill(0, XMM + XMM_BYTES * number, XMM + XMM_BYTES * (number + 1));
    regs.set(bytes, XMM + XMM_BYTES * number);
    this.#floats.write(regs);
  }

  /** 32 bytes. */
  ymm(number: number): Uint8Array {
    const area = this.#floats.readWhole();
    const bytes = new Uint8Array(2 * XMM_BYTES);
    bytes.set(area.subarray(XMM + XMM_BYTES * number, XMM + XMM_BYTES * (number + 1)));
    bytes.set(area.subarray(YMM_HIGH + XMM_BYTES * number, YMM_HIGH + XMM_BYTES * (number + 1)), XMM_BYTES);
    return bytes;
  }

  /**
   * `bytes` are its lower ones; the others become 0. NOT MODELLED: those above 32 become 0, too.
   */
  setYmm(number: number, bytes: Uint8Array): void {
    const area = this.#floats.readWhole();
    const whole = new Uint8Array(2 * XMM_BYTES);
    whole.set(bytes);
    area.set(whole.subarray(0, XMM_BYTES), XMM + XMM_BYTES * number);
    area.set(whole.subarray(XMM_BYTES), YMM_HIGH + XMM_BYTES * number);
    area[XSTATE_BV]! |= XSTATE_SSE_AVX;
    this.#floats.writeWhole(area);
  }
}
