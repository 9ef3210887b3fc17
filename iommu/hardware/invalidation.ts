/**
 * The log through which invalidation commands reach the caches of the ports. The unit's generation
 * is the number of requests ever appended. A port that finds it changed applies the requests it has
 * missed to its own caches. If the port lags behind by more than the log holds, it forgets
 * everything.
 */
import { INVALIDATION_WORDS, NR_INVALIDATIONS, Unit } from './unit-memory.ts';

/** The kinds of request. */
export const KIND_VMA = 1;
export const KIND_GVMA = 2;
export const KIND_DDT = 3;

/** Which operands of a request are valid. */
export const HAS_ADDRESS = 1 << 0; // AV
export const HAS_PSCID = 1 << 1; // PSCV
export const HAS_GSCID = 1 << 2; // GV
export const HAS_DID = 1 << 3; // DV

export interface Invalidation {
  kind: number;
  flags: number;
  pscid: number;
  gscid: number;
  did: number;
  /** Page of the iova (VMA) or of the gpa (GVMA). */
  vpn: number;
}

/** An empty request of a kind, to be filled in. */
export const invalidation = (kind: number): Invalidation => ({ kind, flags: 0, pscid: 0, gscid: 0, did: 0, vpn: 0 });

const KIND = 0;
const FLAGS = 1;
const PSCID = 2;
const GSCID = 3;
const DID = 4;
const VPN_LO = 5;
const VPN_HI = 6;

/**
 * A port that has missed more requests than this forgets everything, which is cheaper than looking
 * at each request.
 */
const MAX_APPLIED = 16;

const TWO_32 = 2 ** 32;

const slotOf = (generation: number): number =>
  Unit.word.log + ((generation >>> 0) % NR_INVALIDATIONS) * INVALIDATION_WORDS;

/**
 * Appends a request. The caller holds the unit's command lock, and calls for attention (epoch.ts)
 * after its last request.
 */
export function appendInvalidation(words: Int32Array, request: Readonly<Invalidation>): void {
  const generation = (Atomics.load(words, Unit.word.generation) + 1) | 0;
  const at = slotOf(generation);
  Atomics.store(words, at + KIND, request.kind);
  Atomics.store(words, at + FLAGS, request.flags);
  Atomics.store(words, at + PSCID, request.pscid);
  Atomics.store(words, at + GSCID, request.gscid);
  Atomics.store(words, at + DID, request.did);
  Atomics.store(words, at + VPN_LO, request.vpn | 0);
  Atomics.store(words, at + VPN_HI, Math.floor(request.vpn / TWO_32));
  // pairs with the loads in InvalidationReader
  Atomics.store(words, Unit.word.generation, generation);
}

/** The caches of a port, as requests change them. */
export interface InvalidationTarget {
  invalidate(request: Readonly<Invalidation>): void;
  /** Forgets all it has cached. */
  invalidateAll(): void;
}

/** A port's side of the log. */
export class InvalidationReader {
  readonly #words: Int32Array;
  readonly #target: InvalidationTarget;
  readonly #request = invalidation(KIND_DDT);
  /** Generation up to which all requests have been applied. */
  #seen: number;

  constructor(words: Int32Array, target: InvalidationTarget) {
    this.#words = words;
    this.#target = target;
    this.#seen = Atomics.load(words, Unit.word.generation);
  }

  /** Applies all new requests. Returns how many there were. */
  catchUp(): number {
    // pairs with the store in appendInvalidation
    const generation = Atomics.load(this.#words, Unit.word.generation);
    const missed = (generation - this.#seen) | 0;
    if (missed <= MAX_APPLIED) {
      for (let n = 1; n <= missed; n++) this.#apply((this.#seen + n) | 0);
    }
    // The oldest slot may have been rewritten during the read: a writer fills it before it stores
    // the generation.
    const now = Atomics.load(this.#words, Unit.word.generation);
    if (missed > MAX_APPLIED || ((now - this.#seen) | 0) >= NR_INVALIDATIONS) this.#target.invalidateAll();
    this.#seen = generation;
    return missed;
  }

  #apply(generation: number): void {
    const words = this.#words;
    const at = slotOf(generation);
    const request = this.#request;
    request.kind = Atomics.load(words, at + KIND);
    request.flags = Atomics.load(words, at + FLAGS);
    request.pscid = Atomics.load(words, at + PSCID);
    request.gscid = Atomics.load(words, at + GSCID);
    request.did = Atomics.load(words, at + DID);
    request.vpn = Atomics.load(words, at + VPN_HI) * TWO_32 + (Atomics.load(words, at + VPN_LO) >>> 0);
    this.#target.invalidate(request);
  }
}
