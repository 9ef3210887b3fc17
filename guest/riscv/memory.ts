import type { Bus, StoreJournal } from './environment.ts';

/** Guest RAM: its first byte is at gpa `base`, and at `offset` in `bytes`. */
export interface RamPlace {
  readonly bytes: SharedArrayBuffer;
  readonly base: number;
  readonly offset: number;
  /** All that is left of `bytes` if not given. */
  readonly size?: number;
}

export type AccessSize = 1 | 2 | 4 | 8;

/**
 * The hart's view of the physical address space. RAM is accessed through typed arrays, everything
 * else through the bus.
 *
 * Aligned 2-, 4- and 8-byte accesses of RAM are one access of a typed array. V8 makes that one
 * machine access on 64-bit hosts, so they do not tear against DMA and other harts (unpriv-isa §2.6,
 * §18). Misaligned accesses of RAM are supported, byte by byte and not atomic (Zicclsm).
 *
 * With a journal every store to RAM goes through `store` or `compareExchange`.
 */
export class Memory {
  readonly base: number;
  /** Where RAM begins in its buffer. */
  readonly offset: number;
  readonly size: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly journal: StoreJournal | undefined;
  /**
   * A load, or a store, of up to 8 bytes that begins in [0, this] of RAM may use the arrays
   * directly.
   */
  readonly lastLoad: number;
  readonly lastStore: number;
  readonly #bus: Bus;
  readonly #bytes = new DataView(new ArrayBuffer(8)); // where misaligned accesses are put together

  constructor(ram: RamPlace, bus: Bus, journal?: StoreJournal) {
    const { bytes, base, offset, size = bytes.byteLength - offset } = ram;
    this.base = base;
    this.offset = offset;
    this.size = size;
    this.u8 = new Uint8Array(bytes, offset, this.size);
    this.u16 = new Uint16Array(bytes, offset, Math.floor(this.size / 2));
    this.i32 = new Int32Array(bytes, offset, Math.floor(this.size / 4));
    this.i64 = new BigInt64Array(bytes, offset, Math.floor(this.size / 8));
    this.journal = journal;
    this.lastLoad = this.size - 8;
    this.lastStore = journal ? -1 : this.lastLoad;
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
      if (this.journal) this.#announce(at, size, this.load(gpa, size)!, value);
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

  /**
   * An aligned store to RAM at offset `at`, which goes into the journal first. `low` and `high` are
   * the halves of a register. HOT while there is a journal: no bigint leaves this function.
   */
  storeRegister(journal: StoreJournal, at: number, size: AccessSize, low: number, high: number): void {
    if (size === 8) {
      const old = this.i64[at >>> 3]!; // one access: no device tears it
      journal.store(at, 8, Number(BigInt.asIntN(32, old)), Number(BigInt.asIntN(32, old >> 32n)), low, high);
      this.i64[at >>> 3] = (BigInt(high) << 32n) | BigInt(low >>> 0);
    } else if (size === 4) {
      journal.store(at, 4, this.i32[at >>> 2]!, 0, low, 0);
      this.i32[at >>> 2] = low;
    } else if (size === 2) {
      journal.store(at, 2, this.u16[at >>> 1]!, 0, low & 0xffff, 0);
      this.u16[at >>> 1] = low;
    } else {
      journal.store(at, 1, this.u8[at]!, 0, low & 0xff, 0);
      this.u8[at] = low;
    }
  }

  /**
   * Stores `value` in aligned RAM at offset `at` if `expected` is there; returns what was there.
   * All three are signed. Sequentially consistent.
   */
  compareExchange(at: number, size: 4 | 8, expected: bigint, value: bigint): bigint {
    this.#announce(at, size, expected, value);
    const found =
      size === 8
        ? Atomics.compareExchange(this.i64, at / 8, expected, value)
        : BigInt(Atomics.compareExchange(this.i32, at / 4, Number(expected), Number(value)));
    if (found !== expected) this.journal?.withdraw();
    return found;
  }

  #announce(at: number, size: AccessSize, old: bigint, value: bigint): void {
    this.journal?.store(at, size, low(old), size === 8 ? high(old) : 0, low(value), size === 8 ? high(value) : 0);
  }

  /** The 16 bits of an instruction at `pc` (IALIGN = 16); undefined is an access fault. */
  fetch(pc: number): number | undefined {
    const parcel = this.load(pc, 2);
    return parcel === undefined ? undefined : Number(parcel);
  }
}

const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));

/**
 * Whether an address is exact as a number; hot paths use numbers. Below 2^52 in magnitude, register
 * + immediate is exact, and nothing of any machine lies above. A negative address is in the upper
 * half of the 64-bit space, where nothing lies either.
 */
export const isExact = (gpa: number): boolean => gpa > -(2 ** 52) && gpa < 2 ** 52;
