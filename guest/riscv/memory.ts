import type { Bus } from './environment.ts';

export type AccessSize = 1 | 2 | 4 | 8;

/**
 * The hart's view of the physical address space. RAM is accessed through typed arrays, everything
 * else through the bus.
 *
 * Aligned 2-, 4- and 8-byte accesses of RAM are one access of a typed array. V8 makes that one
 * machine access on 64-bit hosts, so they do not tear against DMA and other harts (unpriv-isa §2.6,
 * §18). Misaligned accesses of RAM are supported, byte by byte and not atomic (Zicclsm).
 */
export class Memory {
  readonly base: number;
  readonly size: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly #bus: Bus;
  readonly #bytes = new DataView(new ArrayBuffer(8)); // where misaligned accesses are put together

  constructor(ram: SharedArrayBuffer, base: number, offset: number, bus: Bus) {
    this.base = base;
    this.size = ram.byteLength - offset;
    this.u8 = new Uint8Array(ram, offset);
    this.u16 = new Uint16Array(ram, offset, Math.floor(this.size / 2));
    this.i32 = new Int32Array(ram, offset, Math.floor(this.size / 4));
    this.i64 = new BigInt64Array(ram, offset, Math.floor(this.size / 8));
    this.#bus = bus;
  }

  /** True if [gpa, gpa + size) is RAM. */
  isRam(gpa: number, size: number): boolean {
    return gpa >= this.base && gpa + size <= this.base + this.size;
  }

  /** A load of any address, zero extended; undefined is an access fault. */
  load(gpa: number, size: AccessSize): bigint | undefined {
    if (this.isRam(gpa, size)) {
      const at = gpa - this.base;
      if (size === 8 && (at & 7) === 0) return BigInt.asUintN(64, this.i64[at / 8]!);
      if (size === 4 && (at & 3) === 0) return BigInt(this.i32[at / 4]! >>> 0);
      if (size === 2 && (at & 1) === 0) return BigInt(this.u16[at / 2]!);
      this.#bytes.setBigUint64(0, 0n);
      for (let i = 0; i < size; i++) this.#bytes.setUint8(i, this.u8[at + i]!);
      return this.#bytes.getBigUint64(0, true);
    }
    return gpa >= 0 && isExact(gpa) ? this.#bus.load(gpa, size) : undefined;
  }

  /** A store to any address of the low `size` bytes of `value`; false is an access fault. */
  store(gpa: number, size: AccessSize, value: bigint): boolean {
    if (this.isRam(gpa, size)) {
      const at = gpa - this.base;
      if (size === 8 && (at & 7) === 0) this.i64[at / 8] = value;
      else if (size === 4 && (at & 3) === 0) this.i32[at / 4] = Number(BigInt.asIntN(32, value));
      else if (size === 2 && (at & 1) === 0) this.u16[at / 2] = Number(BigInt.asUintN(16, value));
      else {
        this.#bytes.setBigUint64(0, BigInt.asUintN(64, value), true);
        for (let i = 0; i < size; i++) this.u8[at + i] = this.#bytes.getUint8(i);
      }
      return true;
    }
    return gpa >= 0 && isExact(gpa) && this.#bus.store(gpa, size, BigInt.asUintN(8 * size, value));
  }

  /** The 16 bits of an instruction at `pc` (IALIGN = 16); undefined is an access fault. */
  fetch(pc: number): number | undefined {
    const parcel = this.load(pc, 2);
    return parcel === undefined ? undefined : Number(parcel);
  }
}

/**
 * Whether an address is exact as a number; hot paths use numbers. Below 2^52 in magnitude, register
 * + immediate is exact, and nothing of any machine lies above. A negative address is in the upper
 * half of the 64-bit space, where nothing lies either.
 */
export const isExact = (gpa: number): boolean => gpa > -(2 ** 52) && gpa < 2 ** 52;
