import type { ControlStatus } from './csr.ts';
import * as isa from './isa.ts';
import { isExact, type Memory } from './memory.ts';
import { type Access, FETCH, LOAD, STORE } from './pmp.ts';

/**
 * Address translation and protection: Bare, Sv39 and Sv48 (priv-isa §10.3–§10.5) with Svadu, and
 * PMP (pmp.ts). ASIDs have 0 bits: an SFENCE.VMA counts for all address spaces, and a write to satp
 * empties all TLBs.
 */

const PAGE_FAULT = [isa.CAUSE_LOAD_PAGE, isa.CAUSE_STORE_PAGE, isa.CAUSE_FETCH_PAGE] as const;
const ACCESS_FAULT = [isa.CAUSE_LOAD_ACCESS, isa.CAUSE_STORE_ACCESS, isa.CAUSE_FETCH_ACCESS] as const;

// Page-table entries (§10.4.1)
const PTE_V = 1;
const PTE_R = 2;
const PTE_W = 4;
const PTE_X = 8;
const PTE_U = 16;
const PTE_A = 64;
const PTE_D = 128;
/**
 * In the upper half: reserved, and PBMT and N, which need extensions that this hart does not have.
 */
const PTE_RESERVED = 0x3ff << 22;
/** In the upper half: the high bits of the page number; its 22 low bits are in the lower half. */
const PTE_PPN_HIGH = 0x3f_ffff;

const PAGE = 4096;
/** Bytes of a page, by its level. */
const PAGE_BYTES = [PAGE, PAGE * 512, PAGE * 512 ** 2, PAGE * 512 ** 3] as const;
/** An entry, and its halves. */
const pte = new BigInt64Array(1);
const pteHalves = new Int32Array(pte.buffer);

/** Entries of a TLB for one kind of access, a power of two. */
const TLB_ENTRIES = 256;
const NOTHING = Number.NaN;

/**
 * Pages of RAM that one mode of access may use without asking again: direct-mapped by the low bits
 * of the page number, one part per kind of access.
 */
export class Tlb {
  /** The virtual address of the page, or NaN. */
  readonly tags = new Float64Array(3 * TLB_ENTRIES).fill(NOTHING);
  /** What a virtual address less this gives: its offset in RAM. */
  readonly deltas = new Float64Array(3 * TLB_ENTRIES);

  /**
   * The offset in RAM of an address, of which `low` are the low bits; negative if it is not here.
   */
  find(access: Access, vaddr: number, low: number): number {
    const slot = access * TLB_ENTRIES + ((low >>> 12) & (TLB_ENTRIES - 1));
    return this.tags[slot] === vaddr - (low & 0xfff) ? vaddr - this.deltas[slot]! : -1;
  }

  flush(): void {
    this.tags.fill(NOTHING);
  }

  /** Forgets one page, for all kinds of access. */
  flushPage(page: number): void {
    const first = (page / PAGE) & (TLB_ENTRIES - 1);
    for (let slot = first; slot < 3 * TLB_ENTRIES; slot += TLB_ENTRIES) {
      if (this.tags[slot] === page) this.tags[slot] = NOTHING;
    }
  }
}

/** Who keeps more of what the TLBs have, and forgets it with them. */
export interface TranslationKeeper {
  forgetPages(): void;
  /** `page` is the vaddr of a page of 4096 bytes. */
  forgetPage(page: number): void;
}

/** What is asked of a walk. */
interface Walk {
  readonly memory: Memory;
  readonly vaddr: number;
  readonly levels: number;
  readonly access: Access;
  readonly mode: number;
}

export class Mmu {
  readonly #csr: ControlStatus;
  /** One TLB for each mode, SUM and MXR, made when it is needed. */
  readonly #tlbs: (Tlb | undefined)[] = [];

  /**
   * By level from 1: the numbers of the large pages, in their own size, that have been found since
   * the last flush. The TLBs may have parts of them.
   */
  readonly #large: readonly Set<number>[] = [new Set(), new Set(), new Set(), new Set()];
  keeper: TranslationKeeper | undefined;

  constructor(csr: ControlStatus) {
    this.#csr = csr;
  }

  /** The TLB of accesses that are made as `mode` under `mstatus`. */
  tlb(mode: number, mstatus: number): Tlb {
    const index = (mode << 2) | (mstatus & isa.MSTATUS_SUM ? 2 : 0) | (mstatus & isa.MSTATUS_MXR ? 1 : 0);
    let tlb = this.#tlbs[index];
    if (!tlb) {
      tlb = new Tlb();
      this.#tlbs[index] = tlb;
    }
    return tlb;
  }

  /** Forgets all translations: SFENCE.VMA, or a change of what they were made from. */
  flush(): void {
    for (const large of this.#large) large.clear();
    for (const tlb of this.#tlbs) tlb?.flush();
    this.keeper?.forgetPages();
  }

  /**
   * SFENCE.VMA with an address (priv-isa §10.2.1): forgets the leaf entry that translates it. All
   * parts of a large page come from one entry, so they are forgotten with all else.
   */
  flushAddress(vaddr: number): void {
    if (!isExact(vaddr)) return; // nothing is translated there
    const isLarge = this.#large.some((pages, level) => pages.has(Math.floor(vaddr / PAGE_BYTES[level]!)));
    if (isLarge) {
      this.flush();
      return;
    }
    const page = Math.floor(vaddr / PAGE) * PAGE;
    for (const tlb of this.#tlbs) tlb?.flushPage(page);
    this.keeper?.forgetPage(page);
  }

  /**
   * The physical address of a virtual one, as `mode`; a negated exception cause if there is none.
   * A page of RAM goes into the TLB.
   */
  translate(memory: Memory, vaddr: number, access: Access, mode: number): number {
    const gpa = this.#physical(memory, vaddr, access, mode);
    if (gpa < 0) return gpa;
    const pageOffset = gpa % 4096;
    const page = gpa - pageOffset;
    if (!this.#csr.pmp.allows(page / 4096, access, mode)) return -ACCESS_FAULT[access];
    if (memory.isRam(page, 4096)) {
      const tlb = this.tlb(mode, this.#csr.mstatus);
      const vpage = vaddr - pageOffset;
      const slot = access * TLB_ENTRIES + ((vpage / 4096) & (TLB_ENTRIES - 1));
      tlb.tags[slot] = vpage;
      tlb.deltas[slot] = vpage - (page - memory.base);
    }
    return gpa;
  }

  #physical(memory: Memory, vaddr: number, access: Access, mode: number): number {
    const { satp } = this.#csr;
    const scheme = satp >> isa.SATP_MODE_SHIFT;
    if (mode === isa.MODE_M || scheme === 0n) {
      return vaddr >= 0 && isExact(vaddr) ? vaddr : -ACCESS_FAULT[access];
    }
    const levels = scheme === isa.SATP_SV39 ? 3 : 4;
    const half = PAGE_BYTES[levels - 1]! * 256;
    // all higher bits must be as the highest that is translated (§10.4.1)
    if (!(vaddr >= -half && vaddr < half)) return -PAGE_FAULT[access];
    return this.#walk({ memory, vaddr, levels, access, mode });
  }

  /**
   * Virtual Address Translation Process (§10.3.2); the numbers are those of its steps. HOT: a
   * bigint is made for bits A and D only.
   */
  #walk(request: Walk): number {
    const { memory, vaddr, levels, access, mode } = request;
    const csr = this.#csr;
    // 1.
    let table = Number(csr.satp & isa.PPN_MASK) * PAGE;
    for (let level = levels - 1; level >= 0; level--) {
      // 2.
      const size = PAGE_BYTES[level]!;
      const vpn = Math.floor(vaddr / size);
      const at = table + 8 * (vpn - 512 * Math.floor(vpn / 512));
      const readable = isExact(at) && memory.isRam(at, 8) && csr.pmp.allows(Math.floor(at / PAGE), LOAD, isa.MODE_S);
      if (!readable) return -ACCESS_FAULT[access];
      pte[0] = memory.i64[(at - memory.base) / 8]!; // one access: nobody tears it
      const [low, high] = [pteHalves[0]!, pteHalves[1]!];
      // 3.
      const flags = low & 0xff;
      const reserved = (high & PTE_RESERVED) !== 0;
      if (!(flags & PTE_V) || (flags & (PTE_R | PTE_W)) === PTE_W || reserved) return -PAGE_FAULT[access];
      const ppn = (high & PTE_PPN_HIGH) * 2 ** 22 + (low >>> 10);
      // 4.
      if ((flags & (PTE_R | PTE_X)) === 0) {
        if (flags & (PTE_A | PTE_D | PTE_U)) return -PAGE_FAULT[access]; // reserved in a pointer
        table = ppn * PAGE;
        continue;
      }
      // 5., 6.
      const aligned = (ppn * PAGE) % size === 0;
      if (!isPermitted(csr.mstatus, flags, access, mode) || !aligned) return -PAGE_FAULT[access];
      // 7.
      const wanted = PTE_A | (access === STORE ? PTE_D : 0);
      if ((flags & wanted) !== wanted) {
        if (!(csr.menvcfg & isa.ENVCFG_ADUE)) return -PAGE_FAULT[access];
        if (!csr.pmp.allows(Math.floor(at / PAGE), STORE, isa.MODE_S)) return -ACCESS_FAULT[access];
        // another hart has changed it: begin again
        const before = pte[0]!;
        const found = memory.compareExchange(at - memory.base, 8, before, before | BigInt(wanted));
        if (found !== before) return this.#walk(request);
      }
      if (level > 0) this.#large[level]!.add(vpn);
      // 8.
      const gpa = ppn * PAGE + (vaddr - vpn * size);
      return isExact(gpa) ? gpa : -ACCESS_FAULT[access];
    }
    return -PAGE_FAULT[access];
  }
}

/** Step 5 of §10.3.2, and SUM and MXR (§3.1.6.3). */
function isPermitted(mstatus: number, flags: number, access: Access, mode: number): boolean {
  if (mode === isa.MODE_U) {
    if (!(flags & PTE_U)) return false;
  } else if (flags & PTE_U) {
    if (access === FETCH || !(mstatus & isa.MSTATUS_SUM)) return false;
  }
  if (access === FETCH) return (flags & PTE_X) !== 0;
  if (access === STORE) return (flags & PTE_W) !== 0;
  return (flags & PTE_R) !== 0 || ((mstatus & isa.MSTATUS_MXR) !== 0 && (flags & PTE_X) !== 0);
}
