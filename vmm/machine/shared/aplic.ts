/**
 * The advanced platform-level interrupt controller of the `virt` machine with `aia=aplic-imsic`
 * (AIA 1.0 §4): wired interrupts become messages. It has two domains, one of M mode, which is the
 * root, and its child of S mode. Each source belongs to one of them: to the root, unless the root
 * has delegated it. Delivery is by messages only (domaincfg.DM is 1), little-endian.
 *
 * Only the thread that owns the shared devices touches it.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { flag, integer, list, object } from '../../../platform/shape.ts';
import type { Level } from '../hart-local/interrupt-target.ts';
import type { MmioDevice } from './bus.ts';

/** Sources 1 to 96, as in QEMU. Source 0 does not exist. */
export const APLIC_SOURCES = 97;

// AIA §4.5, the memory map of a domain
const DOMAINCFG = 0x0000;
const SOURCECFG = 0x0004;
const MMSIADDRCFG = 0x1bc0;
const SMSIADDRCFG = 0x1bc8;
const MSIADDRCFG_END = 0x1bd0;
const SETIP = 0x1c00;
const SETIPNUM = 0x1cdc;
const IN_CLRIP = 0x1d00;
const CLRIPNUM = 0x1ddc;
const SETIE = 0x1e00;
const SETIENUM = 0x1edc;
const CLRIE = 0x1f00;
const CLRIENUM = 0x1fdc;
const SETIPNUM_LE = 0x2000;
const SETIPNUM_BE = 0x2004;
const GENMSI = 0x3000;
const TARGET = 0x3004;
/** Bytes of an array of bits. */
const BITS = 0x80;

const DOMAINCFG_READ = 0x8000_0000 | (1 << 2); // DM
const DOMAINCFG_IE = 1 << 8;
const SOURCECFG_DELEGATED = 1 << 10;
const SOURCE_MODE = 7;
const EDGE_RISING = 4;
const EDGE_FALLING = 5;
const LEVEL_HIGH = 6;
const LEVEL_LOW = 7;
/** Hart 31:18 and identity 10:0; there are no guests' files, so 17:12 are 0. */
const TARGET_WRITABLE = 0xfffc07ff | 0;
const MSIADDR_LOCKED = 1 << 31;
const MMSIADDRCFGH = 0x9f77_ffff | 0;
const SMSIADDRCFGH = 0x0070_0fff;

const DOMAIN_STATE = object({
  enabled: flag,
  /** By source. */
  sourcecfg: list(integer, APLIC_SOURCES),
  target: list(integer, APLIC_SOURCES),
  pending: list(flag, APLIC_SOURCES),
  enables: list(flag, APLIC_SOURCES),
});

export const APLIC_SECTION = defineSection('aplic', 1, {
  /** The root, then its child. */
  domains: list(DOMAIN_STATE, 2),
  /** Levels of the wires, by source. */
  level: list(flag, APLIC_SOURCES),
  /** mmsiaddrcfg, mmsiaddrcfgh, smsiaddrcfg, smsiaddrcfgh. */
  addresses: list(integer, 4),
});

export type AplicState = StateOf<typeof APLIC_SECTION>;

/** Stores a message; `gpa` is where the domain's software has said that the interrupt files are. */
export type SendMessage = (gpa: number, identity: number) => void;

/** By source, all of one domain. */
interface Domain {
  ie: boolean;
  readonly sourcecfg: Int32Array;
  readonly target: Int32Array;
  readonly pending: Uint8Array;
  readonly enables: Uint8Array;
}

const newDomain = (): Domain => ({
  ie: false,
  sourcecfg: new Int32Array(APLIC_SOURCES),
  target: new Int32Array(APLIC_SOURCES),
  pending: new Uint8Array(APLIC_SOURCES),
  enables: new Uint8Array(APLIC_SOURCES),
});

export interface AplicOptions {
  readonly send: SendMessage;
  /** Software has written the number of a source of a level to setipnum: it has served it. */
  completed?(source: number): void;
}

export class Aplic {
  readonly #root = newDomain();
  readonly #child = newDomain();
  readonly #level = new Uint8Array(APLIC_SOURCES);
  readonly #addresses = new Int32Array(4);
  readonly #options: AplicOptions;

  constructor(options: AplicOptions) {
    this.#options = options;
  }

  /** The registers of a domain. Accesses of 4 bytes only. */
  registers(level: Level): MmioDevice {
    const domain = level === 'machine' ? this.#root : this.#child;
    return {
      maxAccess: 4,
      load: (offset: number, size: AccessSize) => (size === 4 ? BigInt(this.#read(domain, offset) >>> 0) : undefined),
      store: (offset: number, size: AccessSize, value: bigint) => {
        if (size !== 4) return false;
        this.#write(domain, offset, Number(value) | 0);
        return true;
      },
    };
  }

  /** The wire of a source, 1 to 96, has this level now. */
  setLevel(source: number, up: boolean): void {
    const domain = this.#domainOf(source);
    const before = this.#input(domain, source);
    this.#level[source] = up ? 1 : 0;
    this.#changed(domain, source, before);
  }

  /** As after power-on. The wires keep their levels. */
  reset(): void {
    for (const domain of [this.#root, this.#child]) {
      domain.ie = false;
      for (const bySource of [domain.sourcecfg, domain.target, domain.pending, domain.enables]) bySource.fill(0);
    }
    this.#addresses.fill(0);
  }

  save(): AplicState {
    return APLIC_SECTION.of({
      domains: [this.#root, this.#child].map(({ ie, sourcecfg, target, pending, enables }) => ({
        enabled: ie,
        sourcecfg: [...sourcecfg],
        target: [...target],
        pending: Array.from(pending, Boolean),
        enables: Array.from(enables, Boolean),
      })),
      level: Array.from(this.#level, Boolean),
      addresses: [...this.#addresses],
    });
  }

  /**
   * To be called after the devices have driven their wires: what they have changed since counts as
   * a change, and what was told by a message already is not told again.
   */
  restore({ domains, level, addresses }: AplicState): void {
    const driven = this.#level.slice();
    for (const [i, domain] of [this.#root, this.#child].entries()) {
      const saved = domains[i]!;
      domain.ie = saved.enabled;
      domain.sourcecfg.set(saved.sourcecfg);
      domain.target.set(saved.target);
      domain.pending.set(saved.pending.map(Number));
      domain.enables.set(saved.enables.map(Number));
    }
    this.#level.set(level.map(Number));
    this.#addresses.set(addresses);
    driven.forEach((up, source) => {
      if (up !== this.#level[source]) this.setLevel(source, up === 1);
    });
  }

  #domainOf(source: number): Domain {
    return this.#root.sourcecfg[source]! & SOURCECFG_DELEGATED ? this.#child : this.#root;
  }

  /**
   * Whether the source is active in this domain: other sources are read-only zero there (§4.5.2).
   */
  #isActive(domain: Domain, source: number): boolean {
    if (source < 1 || source >= APLIC_SOURCES || this.#domainOf(source) !== domain) return false;
    return (domain.sourcecfg[source]! & SOURCE_MODE) !== 0;
  }

  /** The rectified input (§4.5.2): a detached source has none. */
  #input(domain: Domain, source: number): boolean {
    switch (domain.sourcecfg[source]! & SOURCE_MODE) {
      case EDGE_RISING:
      case LEVEL_HIGH:
        return this.#level[source] === 1;
      case EDGE_FALLING:
      case LEVEL_LOW:
        return this.#level[source] === 0;
      default:
        return false;
    }
  }

  /**
   * §4.7: a rising input makes the source pending; one of a level is pending no more when it falls.
   */
  #changed(domain: Domain, source: number, before: boolean): void {
    const now = this.#input(domain, source);
    if (now && !before) domain.pending[source] = 1;
    if (!now && isLevel(domain, source)) domain.pending[source] = 0;
    this.#deliver(domain, source);
  }

  /** §4.9.2: a pending and enabled source sends its message, and is pending no more. */
  #deliver(domain: Domain, source: number): void {
    if (!domain.ie || domain.pending[source] === 0 || domain.enables[source] === 0) return;
    domain.pending[source] = 0;
    this.#message(domain, domain.target[source]!);
  }

  /** §4.9.1: the address of the hart's interrupt file, from its index and the address registers. */
  #message(domain: Domain, target: number): void {
    const hart = target >>> 18;
    const [machineLow = 0, machineHigh = 0, supervisorLow = 0, supervisorHigh = 0] = this.#addresses;
    const isRoot = domain === this.#root;
    const [low, high] = isRoot ? [machineLow, machineHigh] : [supervisorLow, supervisorHigh];
    // how a hart's index is cut into a group and a number stands in mmsiaddrcfgh for both domains
    const lowBits = (machineHigh >>> 12) & 0xf;
    const group = (hart >>> lowBits) & ((1 << ((machineHigh >>> 16) & 7)) - 1);
    const page =
      (high & 0xfff) * 2 ** 32 +
      (low >>> 0) +
      group * 2 ** (((machineHigh >>> 24) & 0x1f) + 12) +
      (hart & ((1 << lowBits) - 1)) * 2 ** ((high >>> 20) & 7);
    this.#options.send(page * 4096, target & 0x7ff);
  }

  #read(domain: Domain, offset: number): number {
    if (offset === DOMAINCFG) return DOMAINCFG_READ | (domain.ie ? DOMAINCFG_IE : 0);
    const bits = bitsAt(offset);
    if (bits) return this.#readBits(domain, bits.array, bits.word);
    if (offset >= MMSIADDRCFG && offset < MSIADDRCFG_END) {
      return domain === this.#root ? this.#addresses[(offset - MMSIADDRCFG) / 4]! : 0;
    }
    const source = sourceAt(offset, SOURCECFG);
    if (source !== undefined) {
      return this.#domainOf(source) === domain || domain === this.#root ? domain.sourcecfg[source]! : 0;
    }
    const targeted = sourceAt(offset, TARGET);
    return targeted !== undefined && this.#isActive(domain, targeted) ? domain.target[targeted]! : 0;
  }

  #readBits(domain: Domain, array: number, word: number): number {
    let value = 0;
    for (let bit = 0; bit < 32; bit++) {
      const source = 32 * word + bit;
      if (!this.#isActive(domain, source)) continue;
      const isSet =
        array === SETIP
          ? domain.pending[source] === 1
          : array === IN_CLRIP
            ? this.#input(domain, source)
            : array === SETIE && domain.enables[source] === 1; // clrie reads 0
      if (isSet) value |= 1 << bit;
    }
    return value;
  }

  #write(domain: Domain, offset: number, value: number): void {
    const bits = bitsAt(offset);
    const configured = sourceAt(offset, SOURCECFG);
    const targeted = sourceAt(offset, TARGET);
    if (offset === DOMAINCFG) {
      domain.ie = (value & DOMAINCFG_IE) !== 0;
      for (let source = 1; source < APLIC_SOURCES; source++) this.#deliver(domain, source);
    } else if (bits) {
      for (let set = value; set !== 0; set &= set - 1) {
        this.#writeBit(domain, bits.array, 32 * bits.word + 31 - Math.clz32(set & -set));
      }
    } else if (offset >= MMSIADDRCFG && offset < MSIADDRCFG_END) this.#writeAddress(domain, offset, value);
    else if (configured !== undefined) this.#configure(domain, configured, value);
    else if (targeted !== undefined) {
      if (this.#isActive(domain, targeted)) domain.target[targeted] = value & TARGET_WRITABLE;
    } else this.#writeNumber(domain, offset, value);
  }

  #writeNumber(domain: Domain, offset: number, value: number): void {
    if (offset === SETIPNUM || offset === SETIPNUM_LE) this.#writeBit(domain, SETIP, value);
    else if (offset === SETIPNUM_BE) this.#writeBit(domain, SETIP, byteSwap(value));
    else if (offset === CLRIPNUM) this.#writeBit(domain, IN_CLRIP, value);
    else if (offset === SETIENUM) this.#writeBit(domain, SETIE, value);
    else if (offset === CLRIENUM) this.#writeBit(domain, CLRIE, value);
    else if (offset === GENMSI) this.#message(domain, value & TARGET_WRITABLE);
  }

  /** §4.7: software makes a source of a level pending only while its input is up. */
  #writeBit(domain: Domain, array: number, source: number): void {
    if (!this.#isActive(domain, source)) return;
    if (array === SETIP && isLevel(domain, source)) this.#options.completed?.(source);
    if (array === SETIP && (!isLevel(domain, source) || this.#input(domain, source))) domain.pending[source] = 1;
    if (array === IN_CLRIP) domain.pending[source] = 0;
    if (array === SETIE) domain.enables[source] = 1;
    if (array === CLRIE) domain.enables[source] = 0;
    this.#deliver(domain, source);
  }

  /** §4.5.3: root only; a set lock bit keeps all of them as they are until a reset. */
  #writeAddress(domain: Domain, offset: number, value: number): void {
    if (domain !== this.#root || (this.#addresses[1]! & MSIADDR_LOCKED) !== 0) return;
    const writable = { [MMSIADDRCFG + 4]: MMSIADDRCFGH, [SMSIADDRCFG + 4]: SMSIADDRCFGH }[offset] ?? -1;
    this.#addresses[(offset - MMSIADDRCFG) / 4] = value & writable;
  }

  /**
   * §4.5.2: the child has no child; a source that leaves a domain, or is inactive, has nothing
   * there.
   */
  #configure(domain: Domain, source: number, value: number): void {
    const delegated = domain === this.#root && (value & SOURCECFG_DELEGATED) !== 0;
    if (domain === this.#child && this.#domainOf(source) !== domain) return;
    const mode = value & SOURCE_MODE;
    const isKnown = mode !== 2 && mode !== 3; // reserved
    const before = this.#input(domain, source);
    domain.sourcecfg[source] = delegated ? SOURCECFG_DELEGATED : isKnown ? mode : 0;
    if (domain === this.#root && !delegated) forget(this.#child, source);
    if ((domain.sourcecfg[source]! & SOURCE_MODE) === 0) {
      domain.pending[source] = 0;
      domain.enables[source] = 0;
      domain.target[source] = 0;
    } else this.#changed(domain, source, before);
  }
}

function forget(domain: Domain, source: number): void {
  for (const bySource of [domain.sourcecfg, domain.target, domain.pending, domain.enables]) bySource[source] = 0;
}

const isLevel = (domain: Domain, source: number): boolean => (domain.sourcecfg[source]! & SOURCE_MODE) >= LEVEL_HIGH;

/** The array of bits, and the word in it, that a register belongs to. */
function bitsAt(offset: number): { readonly array: number; readonly word: number } | undefined {
  const array = [SETIP, IN_CLRIP, SETIE, CLRIE].find((start) => offset >= start && offset < start + BITS);
  return array === undefined ? undefined : { array, word: (offset - array) / 4 };
}

/** The source of a register in an array that has one for each source, from 1 on. */
function sourceAt(offset: number, first: number): number | undefined {
  const source = 1 + (offset - first) / 4;
  return source >= 1 && source < APLIC_SOURCES ? source : undefined;
}

const byteSwap = (value: number): number =>
  ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
