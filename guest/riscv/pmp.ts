/** Kinds of access. */
export const LOAD = 0;
/** Stores, and AMOs. */
export const STORE = 1;
export const FETCH = 2;
export type Access = typeof LOAD | typeof STORE | typeof FETCH;

/**
 * Physical memory protection (priv-isa §3.7): 16 entries of a granularity of 4 KiB (G = 10), so
 * that every page is wholly inside or outside an entry.
 */
const ENTRIES = 16;
const R = 1;
const W = 2;
const X = 4;
const MATCH = 3 << 3; // A: OFF, TOR, NA4, NAPOT
const TOR = 1 << 3;
const NAPOT = 3 << 3;
const LOCKED = 1 << 7;
/** Bits 9:0 of pmpaddr are below the granularity; with NAPOT bit 9 counts too (§3.7.1). */
const GRAIN = 10n;
const ADDRESS_BITS = 54n;

const PERMISSION: Readonly<Record<Access, number>> = { 0: R, 1: W, 2: X };

/** Pages [start, end) with their permissions. */
interface Range {
  readonly start: number;
  readonly end: number;
  readonly config: number;
}

export class Pmp {
  readonly #config = new Uint8Array(ENTRIES);
  readonly #address = new BigUint64Array(ENTRIES);
  /** In order of priority: the first range that holds a page decides. */
  #ranges: readonly Range[] = [];
  /** True if an entry is locked, so that M mode is checked too. */
  locked = false;

  /** pmpcfg<number>, even numbers only: eight entries. */
  readConfig(number: number): bigint {
    if (4 * number >= ENTRIES) return 0n;
    return new DataView(this.#config.buffer).getBigUint64(4 * number, true);
  }

  writeConfig(number: number, value: bigint): void {
    if (4 * number >= ENTRIES) return;
    for (let i = 0; i < 8; i++) {
      const entry = 4 * number + i;
      if (this.#config[entry]! & LOCKED) continue;
      let config = Number((value >> BigInt(8 * i)) & 0xffn) & (LOCKED | MATCH | R | W | X);
      // NA4 cannot be selected (G ≥ 1): the mode stays; W without R is reserved
      if ((config & MATCH) === 2 << 3) config = (config & ~MATCH) | (this.#config[entry]! & MATCH);
      if ((config & (R | W)) === W) config &= ~W;
      this.#config[entry] = config;
    }
    this.#update();
  }

  readAddress(entry: number): bigint {
    if (entry >= ENTRIES) return 0n;
    const napot = (this.#config[entry]! & MATCH) === NAPOT;
    const below = (1n << (napot ? GRAIN - 1n : GRAIN)) - 1n;
    return napot ? this.#address[entry]! | below : this.#address[entry]! & ~below;
  }

  writeAddress(entry: number, value: bigint): void {
    if (entry >= ENTRIES || this.#config[entry]! & LOCKED) return;
    // the address of a locked TOR entry's lower end is locked with it
    const next = this.#config[entry + 1] ?? 0;
    if (next & LOCKED && (next & MATCH) === TOR) return;
    this.#address[entry] = BigInt.asUintN(Number(ADDRESS_BITS), value);
    this.#update();
  }

  /** Whether an access to this page by this mode (U 0, S 1, M 3) is allowed (§3.7.1.3). */
  allows(page: number, access: Access, mode: number): boolean {
    const machine = mode === 3;
    for (const { start, end, config } of this.#ranges) {
      if (page < start || page >= end) continue;
      return (machine && (config & LOCKED) === 0) || (config & PERMISSION[access]) !== 0;
    }
    return machine;
  }

  save(): { readonly config: readonly number[]; readonly address: readonly bigint[] } {
    return { config: Array.from(this.#config), address: Array.from(this.#address) };
  }

  restore(config: readonly number[], address: readonly bigint[]): void {
    this.#config.set(config);
    this.#address.set(address);
    this.#update();
  }

  #update(): void {
    this.#ranges = Array.from(this.#config, (config, entry) => ({ ...this.#extent(entry), config })).filter(
      ({ start, end }) => start < end,
    );
    this.locked = this.#config.some((config) => config & LOCKED);
  }

  /** The pages that an entry matches. pmpaddr holds bits 55:2 of an address. */
  #extent(entry: number): { start: number; end: number } {
    const page = (address: bigint): number => Number(address >> GRAIN);
    switch (this.#config[entry]! & MATCH) {
      case TOR:
        return { start: entry === 0 ? 0 : page(this.#address[entry - 1]!), end: page(this.#address[entry]!) };
      case NAPOT: {
        // …0111 of n ones means 2^(n + 3) bytes
        const address = this.readAddress(entry);
        const ones = address & ~(address + 1n);
        const start = address & ~ones;
        return { start: page(start), end: page(start + 2n * (ones + 1n)) };
      }
      default:
        return { start: 0, end: 0 };
    }
  }
}
