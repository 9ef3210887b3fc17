/**
 * The memory that a translator and its translations share, in the same WebAssembly.Memory as guest
 * RAM: a module has one memory on every Node (multi-memory is not in Node 20). All of it belongs to
 * the thread that runs the hart, so nothing here needs Atomics.
 *
 *     registers │ words │ contexts: jump cache, TLBs of loads, stores, fetches │ decoded │ heat
 */
import type { RegisterFile } from '../core.ts';
import { type Access, FETCH, LOAD, STORE } from '../pmp.ts';
import { TRAP_REGISTERS_BYTES } from '../trap-registers.ts';
import { Code, type FunctionType, I32, moduleOf, op } from './wasm.ts';

/** Bytes from the workspace's start. */
export const X = 0;
export const F = 256;
export const FFLAGS = 512;
export const FRM = 516;
/** Where a translation left: the pc as float64 and int64; what is left of its budget. */
export const PC = 520;
export const PC_BITS = 528;
export const LEFT = 536;
/** The reservation of LR, as RegisterFile has it. */
export const RESERVED = 544;
export const RESERVED_VALUE = 552;
export const RESERVED_SIZE = 560;
/** What cold code writes to x0. */
export const SINK = 568;
/** Address of the jump cache of the present context (int32). */
export const JUMPS = 576;
/** The interrupts that were pending and enabled when they were looked at last (int32). */
export const PENDING = 580;
/** What a device's register was: `size` bytes. */
export const LOADED = 584;
/** TrapRegisters. */
export const TRAP = 592;
/**
 * By mode | SUM and MXR << 2 | FS is Dirty << 4, without MPRV: the address of the context's jump
 * cache; 0 if it is not known (int32 each).
 */
export const CONTEXT_OF = 1024;
export const CONTEXT_SETS = 32;

const PAGE = 4096;
const ALL_BITS = 0xff;
const CONTEXTS_AT = 4096;
export const CONTEXTS = 10;

/**
 * A jump cache tells a translation where another one lies: direct-mapped by bits of the target pc,
 * 16 bytes each: pc (int64), slot in the table (int32), entry of that function and the least that
 * it must have left (int32). A pc with slot COLD has no translation.
 */
export const JUMP_ENTRIES = 1024;
export const JUMP_SLOT = 8;
export const JUMP_ENTRY = 12;
export const COLD = 0;
export const ENTRY_MASK = 0xff;
export const LEAST_SHIFT = 8;
/**
 * A TLB: direct-mapped by bits of the page number, 16 bytes each: vaddr of the page (int64), what a
 * vaddr plus this gives: its place in the Memory (int32, modulo 2^32). A page of devices has its
 * vaddr | DEVICE, which no access matches, and the number of its gpa's page (uint32).
 */
export const DEVICE = 1;
export const TLB_ENTRIES = 1024;
export const TLB_ADDEND = 8;
export const JUMP_BYTES = 16 * JUMP_ENTRIES;
export const TLB_BYTES = 16 * TLB_ENTRIES;
const ALL_TLBS = 3 * TLB_BYTES;
const CONTEXT_BYTES = JUMP_BYTES + ALL_TLBS;
/** Instructions that cold code has met, 16 bytes each, by a hash of their bits: cold.ts. */
export const DECODED = CONTEXTS_AT + CONTEXTS * CONTEXT_BYTES;
export const DECODED_BITS = 14;
const DECODED_BYTES = 16 << DECODED_BITS;
/** Instructions that were executed cold, by the cache line of code: int32 each. */
export const HEAT = DECODED + DECODED_BYTES;
export const HEAT_LINES = 1 << 15;
export const LINE_SHIFT = 6;
const HEAT_BYTES = 4 * HEAT_LINES;

/** Bytes that a translator needs. */
export const WORKSPACE_BYTES = 17 * 65536;

/** Where the Memory has room for a translator, beside guest RAM. */
export interface Room {
  readonly memory: WebAssembly.Memory;
  /** The first of WORKSPACE_BYTES, 8-byte aligned. */
  readonly at: number;
  /**
   * The first of JOURNAL_BYTES, 64-byte aligned: the memory of the journal that the hart is given
   * (`Engine.journalTo`), perhaps mapped here once more.
   */
  readonly journal: number;
}

export class Workspace {
  readonly at: number;
  readonly journal: number;
  readonly memory: WebAssembly.Memory;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly i64: BigInt64Array;
  readonly registers: RegisterFile;
  #fill: ((at: number, bytes: number, value: number) => void) | undefined;

  constructor({ memory, at, journal }: Room) {
    const buffer = memory.buffer;
    this.memory = memory;
    this.at = at;
    this.journal = journal;
    this.i32 = new Int32Array(buffer, at, WORKSPACE_BYTES / 4);
    this.i64 = new BigInt64Array(buffer, at, WORKSPACE_BYTES / 8);
    this.f64 = new Float64Array(buffer, at, WORKSPACE_BYTES / 8);
    this.registers = {
      x: new BigInt64Array(buffer, at + X, 32),
      f: new BigInt64Array(buffer, at + F, 32),
      fcsr: new Int32Array(buffer, at + FFLAGS, 2),
      reserved: new BigInt64Array(buffer, at + RESERVED, 3),
      trap: new BigUint64Array(buffer, at + TRAP, TRAP_REGISTERS_BYTES / 8),
    };
  }

  /** Address in the Memory of a word of the workspace. */
  address(offset: number): number {
    return this.at + offset;
  }

  /** Address of the jump cache of a context, and of its TLBs: loads, stores, fetches. */
  jumps(context: number): number {
    return this.at + CONTEXTS_AT + context * CONTEXT_BYTES;
  }

  tlbs(context: number): number {
    return this.jumps(context) + JUMP_BYTES;
  }

  /** HOT. Whether the jump cache of a context, which has been forgotten once, has `pc`. */
  knowsJump(context: number, pc: number): boolean {
    const word = this.#jumpWord(context, pc);
    return this.i32[word] === (pc | 0) && this.i32[word + 1] === Math.floor(pc / 2 ** 32);
  }

  /** Entry and least of the region that has `pc`, as JUMP_ENTRY has them. */
  jumpEntry(context: number, pc: number): number {
    return this.i32[this.#jumpWord(context, pc) + JUMP_ENTRY / 4]!;
  }

  jumpSlot(context: number, pc: number): number {
    return this.i32[this.#jumpWord(context, pc) + JUMP_SLOT / 4]!;
  }

  setJump(context: number, pc: number, slot: number, entry: number): void {
    const word = this.#jumpWord(context, pc);
    this.i32[word] = pc;
    this.i32[word + 1] = Math.floor(pc / 2 ** 32);
    this.i32[word + JUMP_SLOT / 4] = slot;
    this.i32[word + JUMP_ENTRY / 4] = entry;
  }

  /** `pc`, which the jump cache knows, is not known any more. */
  forgetJump(context: number, pc: number): void {
    const word = this.#jumpWord(context, pc);
    this.i32[word] = -1;
    this.i32[word + 1] = -1;
  }

  #jumpWord(context: number, pc: number): number {
    return (this.jumps(context) - this.at) / 4 + ((pc << 1) & (4 * (JUMP_ENTRIES - 1)));
  }

  /** Comes before anything is forgotten. RangeError: there is no memory for code. */
  open(): void {
    this.#fill = filler(this.memory);
    this.#fill(this.at + DECODED, DECODED_BYTES, ALL_BITS); // which is no instruction
    this.#fill(this.at + HEAT, HEAT_BYTES, 0);
  }

  /** Where the heat of the code at `pc` is, as an index of i32. */
  heatWord(pc: number): number {
    return HEAT / 4 + (Math.floor(pc / 2 ** LINE_SHIFT) & (HEAT_LINES - 1));
  }

  /**
   * No jump of a context is known any more. All bits set is no pc, which is even, and no page's
   * address.
   */
  forgetJumps(context: number): void {
    this.#fill!(this.jumps(context), JUMP_BYTES, ALL_BITS);
  }

  /** No page of a context is known any more. */
  forgetTlbs(context: number): void {
    this.#fill!(this.tlbs(context), ALL_TLBS, ALL_BITS);
  }

  /** The entry of a TLB, as a word of i32, where the page at the vaddr `page` has its place. */
  tlbWord(context: number, kind: Access, page: number): number {
    return (this.tlbs(context) - this.at + kind * TLB_BYTES) / 4 + 4 * ((page / PAGE) & (TLB_ENTRIES - 1));
  }

  /** The page at the vaddr `page` is not known to the TLBs of a context any more. */
  forgetPage(context: number, page: number): void {
    for (const kind of [LOAD, STORE, FETCH] as const) {
      const word = this.tlbWord(context, kind, page);
      if ((this.i32[word]! & ~DEVICE) !== (page | 0) || this.i32[word + 1] !== Math.floor(page / 2 ** 32)) continue;
      this.i32[word] = -1;
      this.i32[word + 1] = -1;
    }
  }
}

/**
 * Sets so many bytes of the Memory to a value: 40 times as fast as TypedArray.fill on shared
 * memory.
 */
function filler(memory: WebAssembly.Memory): (at: number, bytes: number, value: number) => void {
  const code = new Code().get(0).get(2).get(1).memoryFill().byte(op.end);
  const types: readonly FunctionType[] = [{ parameters: [I32, I32, I32], results: [] }];
  const bytes = moduleOf({ types, functions: [], type: 0, bodies: [{ locals: [], code }] });
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { memory } }).exports[0] as ReturnType<
    typeof filler
  >;
}
