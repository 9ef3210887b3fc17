/**
 * The memory accesses of instructions that execute.ts cannot make at once: of devices, misaligned
 * ones, those of a page that the TLB does not hold. An address is virtual here; where the core is
 * not paged it is the physical one.
 *
 * What cannot be done leaves `core.fault`: the cause of the exception, and how many bytes after the
 * address the part lies that failed.
 */
import type { Core } from './core.ts';
import { CAUSE_FETCH_ACCESS, CAUSE_LOAD_ACCESS, CAUSE_STORE_ACCESS } from './isa.ts';
import type { AccessSize } from './memory.ts';
import { type Access, FETCH, LOAD, STORE } from './pmp.ts';

const PAGE = 4096;
const LOW = PAGE - 1;

function failed(core: Core, cause: number, offset = 0): undefined {
  core.fault.cause = cause;
  core.fault.offset = offset;
}

/** The physical address; undefined is a fault. */
export function physical(core: Core, vaddr: number, access: Access): number | undefined {
  if (!core.paged) return vaddr;
  const at = core.mmu.tlb(core.dataMode, core.csr.mstatus).find(access, vaddr, vaddr | 0);
  if (at >= 0) return core.memory.base + at;
  const gpa = core.mmu.translate(core.memory, vaddr, access, core.dataMode);
  return gpa < 0 ? failed(core, -gpa) : gpa;
}

/** Zero extended; undefined is a fault. */
export function load(core: Core, vaddr: number, size: AccessSize): bigint | undefined {
  if (crossesPage(core, vaddr, size)) return loadAcross(core, vaddr, size);
  const gpa = physical(core, vaddr, LOAD);
  if (gpa === undefined) return undefined;
  return core.memory.load(gpa, size) ?? failed(core, CAUSE_LOAD_ACCESS);
}

/** Of the low `size` bytes of `value`; false is a fault. */
export function store(core: Core, vaddr: number, size: AccessSize, value: bigint): boolean {
  if (crossesPage(core, vaddr, size)) return storeAcross(core, vaddr, size, value);
  const gpa = physical(core, vaddr, STORE);
  if (gpa === undefined) return false;
  if (core.memory.store(gpa, size, value)) return true;
  failed(core, CAUSE_STORE_ACCESS);
  return false;
}

/** A parcel of 16 bits, where code is paged as `core.codePaged` says; undefined is a fault. */
export function fetchParcel(core: Core, pc: number): number | undefined {
  const gpa = core.codePaged ? core.mmu.translate(core.memory, pc, FETCH, core.csr.mode) : pc;
  if (core.codePaged && gpa < 0) return failed(core, -gpa);
  return core.memory.fetch(gpa) ?? failed(core, CAUSE_FETCH_ACCESS);
}

/** Paged memory, and an access that begins in one page and ends in the next. */
const crossesPage = (core: Core, vaddr: number, size: number): boolean => core.paged && (vaddr & LOW) > PAGE - size;

/**
 * Where the parts of an access in two pages begin: both are translated before anything is done, so
 * that a fault in the second leaves no trace of the first.
 */
function bothPages(core: Core, vaddr: number, access: Access): readonly [number, number, number] | undefined {
  const length = PAGE - (vaddr & LOW);
  const first = physical(core, vaddr, access);
  if (first === undefined) return undefined;
  const second = physical(core, vaddr + length, access);
  if (second === undefined) return failed(core, core.fault.cause, length);
  return [first, second, length];
}

function loadAcross(core: Core, vaddr: number, size: number): bigint | undefined {
  const pages = bothPages(core, vaddr, LOAD);
  if (!pages) return undefined;
  const [first, second, length] = pages;
  let value = 0n;
  for (let i = 0; i < size; i++) {
    const byte = core.memory.load(i < length ? first + i : second + i - length, 1);
    if (byte === undefined) return failed(core, CAUSE_LOAD_ACCESS, i < length ? 0 : length);
    value |= byte << BigInt(8 * i);
  }
  return value;
}

function storeAcross(core: Core, vaddr: number, size: number, value: bigint): boolean {
  const pages = bothPages(core, vaddr, STORE);
  if (!pages) return false;
  const [first, second, length] = pages;
  for (let i = 0; i < size; i++) {
    const byte = (value >> BigInt(8 * i)) & 0xffn;
    if (core.memory.store(i < length ? first + i : second + i - length, 1, byte)) continue;
    failed(core, CAUSE_STORE_ACCESS, i < length ? 0 : length);
    return false;
  }
  return true;
}
