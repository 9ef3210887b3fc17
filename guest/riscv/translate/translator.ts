/**
 * Runs a hart by translating hot code to WebAssembly; the interpreter (execute.ts) executes the
 * rest: cold code, and single instructions that a translation leaves to it. Between two
 * instructions of either, the state of the hart is where the interpreter keeps it.
 */
import { optimizeLate } from '../../../platform/wasm-tiers.ts';
import type { Core } from '../core.ts';
import type { StoreJournal } from '../environment.ts';
import { execute } from '../execute.ts';
import { executeFloat } from '../execute-float.ts';
import type { Executor } from '../hart.ts';
import { isExact } from '../memory.ts';
import { type Access, FETCH } from '../pmp.ts';
import { executeSystem } from '../system.ts';
import { jump } from '../trap.ts';
import { executeCsr } from '../zicsr.ts';
import { type Entry, LINE, TranslationCache } from './cache.ts';
import { Contexts } from './contexts.ts';
import { discover } from './discover.ts';
import { type Dispatch, dispatcher } from './dispatcher.ts';
import { BUDGET, type Context, LOOKUP, type Places } from './emitter.ts';
import { moduleOfRegions, Region, translates } from './region.ts';
import { ENTRY_MASK, LEAST_SHIFT, LEFT, PC, PC_BITS, type Room, Workspace } from './workspace.ts';

/** Instructions that the interpreter executes until hot code is looked for again. */
const INTERPRET = 64;
const HOT = 8192;
/**
 * So many regions come into one module, because a module takes 130 µs beside its code; unless one
 * of them is so many times as hot as hot.
 */
const BATCH = 8;
const URGENT = 4;
/**
 * Each takes 20 KB of this process' memory (Node 20), whatever its size. A Linux that boots has
 * 3600.
 */
const REGIONS = 4096;
/** CSR instructions that regions may execute until interrupts are looked at: some 50 µs. */
const CSR_MOST = 512;
/** Instructions until a journal is asked whether it closes. */
const JOURNALED = 2048;
const PAGE = 4096;
/** Of an instruction's word: the opcode of CSR instructions, traps and xRET. */
const OPCODE = 0x7f;
const SYSTEM = 0x73;

interface Wanted {
  readonly pc: number;
  /** pc less this is the offset in RAM. */
  readonly delta: number;
  readonly context: Context;
  readonly paged: boolean;
}

/** The code beside the translations. */
interface Machinery {
  readonly table: WebAssembly.Table;
  readonly dispatch: Dispatch;
}

export interface TranslatorOptions {
  /** So many interpreted instructions in a cache line of code make it hot. */
  readonly hot?: number;
  /** The most regions at a time. */
  readonly regions?: number;
}

export class Translator implements Executor {
  /** Some 5 µs; a loop of a few instructions does it in 1. A look takes 0.13 µs. */
  readonly pollEvery = 1 << 13;
  readonly #workspace: Workspace;
  readonly #regions: number;
  readonly #imports: WebAssembly.Imports;
  #hot: number;
  /** Made with the first translation: a new image's first instruction must not wait for it. */
  #machinery: Machinery | undefined;
  readonly #cache: TranslationCache;
  /** Hot code that is to be translated, by its cache line. */
  readonly #wanted = new Map<number, Wanted>();
  readonly #contexts: Contexts;
  #core: Core | undefined;
  #journal: StoreJournal | undefined;
  #context: Context | undefined;
  #csrs = 0;
  #fences = 0;
  /** Instructions interpreted, and regions translated so far. */
  interpreted = 0;
  translated = 0;

  constructor(room: Room, { hot = HOT, regions = REGIONS }: TranslatorOptions = {}) {
    this.#hot = hot;
    this.#cache = new TranslationCache(regions);
    this.#regions = regions;
    this.#workspace = new Workspace(room);
    this.#contexts = new Contexts(this.#workspace);
    this.#imports = {
      e: {
        memory: room.memory,
        fill: (vaddr: number, kind: Access, size: number) => this.#fill(vaddr, kind, size),
        float: (word: number) => this.#float(word),
        csr: (word: number) => this.#csr(word),
        journal: (at: number, size: 1 | 2 | 4 | 8, oldLow: number, oldHigh: number, low: number, high: number) =>
          this.#journal!.store(at >>> 0, size, oldLow, oldHigh, low, high),
      },
    };
  }

  get registers(): Workspace['registers'] {
    return this.#workspace.registers;
  }

  /** A core that has executed nothing: RAM may hold anything. */
  begin(core: Core): void {
    this.#core = core;
    core.mmu.keeper = this.#contexts;
    this.#dropAll();
    // another translator may have used the workspace meanwhile
    this.#contexts.clear();
  }

  execute(core: Core, budget: number): number {
    const { journal } = core.memory;
    this.#journalTo(journal);
    return this.#execute(core, journal ? Math.min(budget, JOURNALED) : budget);
  }

  #execute(core: Core, budget: number): number {
    core.look();
    this.#follow(core);
    const context = this.#contextOf(core);
    this.#context = context;
    this.#csrs = 0;
    let left = budget;
    for (;;) {
      if (!this.#contexts.knowsJump(context, core.pc)) {
        const offset = this.#codeOffset(core, core.pc);
        const entry = offset < 0 ? undefined : this.#translation(core, offset, context);
        if (!entry) {
          if (left < budget) return budget - left;
          const begun = execute(core, Math.min(left, INTERPRET));
          if (offset >= 0) this.#cache.heat(offset, begun);
          this.interpreted += begun;
          return begun;
        }
        const { region, index } = entry;
        this.#contexts.addJump(context, core.pc, region.slot, index | (region.least << LEAST_SHIFT));
      }
      const entry = this.#workspace.jumpEntry(context.id, core.pc);
      if (entry >>> LEAST_SHIFT > left) {
        if (left < budget) return budget - left;
        const begun = execute(core, left);
        this.interpreted += begun;
        return begun;
      }
      const slot = this.#workspace.jumpSlot(context.id, core.pc);
      const why = this.#machinery!.dispatch(entry & ENTRY_MASK, left, slot, this.#workspace.jumps(context.id));
      const rest = this.#workspace.i32[LEFT / 4]!;
      core.csr.begun += left - rest;
      left = rest;
      const pc = this.#workspace.f64[PC / 8]!;
      if (!isExact(pc)) {
        jump(core, BigInt.asUintN(64, this.#workspace.i64[PC_BITS / 8]!));
        return budget - left;
      }
      core.pc = pc;
      if (why === LOOKUP) continue;
      if (why === BUDGET) return budget - left;
      this.interpreted++;
      return budget - left + (this.#executesSystem(core) ? 1 : execute(core, 1));
    }
  }

  /** Translations that tell a journal of their stores are others than those that tell nobody. */
  #journalTo(journal: StoreJournal | undefined): void {
    const isOther = (journal === undefined) !== (this.#journal === undefined);
    this.#journal = journal;
    if (!isOther) return;
    this.#dropAll();
    this.#contexts.clear();
  }

  /** HOT. The instruction at core.pc, if it is one of SYSTEM in one piece of RAM. */
  #executesSystem(core: Core): boolean {
    const { pc, memory, csr } = core;
    const offset = this.#codeOffset(core, pc);
    if (offset < 0 || offset % PAGE > PAGE - 4) return false;
    const word = memory.u16[offset / 2]! | (memory.u16[offset / 2 + 1]! << 16);
    if ((word & OPCODE) !== SYSTEM) return false;
    executeSystem(core, word, pc + 4); // csr.begun: the instructions before this one
    core.x[0] = 0n;
    csr.begun++;
    return true;
  }

  /** Drops what a FENCE.I has made doubtful. */
  #follow(core: Core): void {
    if (this.#fences === core.codeFences) return;
    this.#fences = core.codeFences;
    this.#contexts.forgetJumps();
  }

  /** The context that `core` is in now; one of few. */
  #contextOf(core: Core): Context {
    const context = this.#contexts.of(core);
    if (context) return context;
    this.#dropAll(); // contexts of other meanings get their numbers
    this.#contexts.clear();
    return this.#contexts.of(core)!;
  }

  #dropAll(): void {
    for (let slot = 0; slot < this.#cache.size; slot++) this.#machinery?.table.set(slot, null);
    this.#cache.clear();
    this.#wanted.clear();
    this.#contexts.forgetJumps();
  }

  /** The offset in RAM of code; negative where there is none that could be translated. */
  #codeOffset(core: Core, pc: number): number {
    const { memory, csr } = core;
    if (!core.codePaged) return memory.isRam(pc, 8) ? pc - memory.base : -1;
    const at = core.mmu.tlb(csr.mode, csr.mstatus).find(FETCH, pc, pc | 0);
    if (at >= 0) return at;
    const gpa = core.mmu.translate(memory, pc, FETCH, csr.mode);
    return gpa >= 0 && memory.isRam(gpa, 8) ? gpa - memory.base : -1;
  }

  /** The translation of the code at core.pc; perhaps later if it is hot and has none yet. */
  #translation(core: Core, offset: number, context: Context): Entry | undefined {
    const { pc, memory } = core;
    const found = this.#cache.find(offset, pc, context.id, memory, this.#fences);
    if (found) return found;
    const heat = this.#cache.heat(offset, 0);
    if (heat < this.#hot) return undefined;
    const line = Math.floor(offset / LINE);
    if (!this.#wanted.has(line)) this.#wanted.set(line, { pc, delta: pc - offset, context, paged: core.codePaged });
    if (this.#wanted.size < BATCH && heat < URGENT * this.#hot) return undefined;
    this.#translateWanted(core);
    return this.#cache.find(offset, pc, context.id, memory, this.#fences);
  }

  #translateWanted(core: Core): void {
    const wanted = [...this.#wanted.values()];
    this.#wanted.clear();
    if (!this.#cache.hasRoom(wanted.length)) this.#dropAll();
    const regions = wanted.flatMap((each) => this.#region(core, each) ?? []);
    if (regions.length === 0) return;
    const exports = this.#compile(moduleOfRegions(regions));
    if (!exports) return;
    for (const [i, { slot }] of regions.entries()) this.#machinery!.table.set(slot, exports[i]);
    this.translated += regions.length;
  }

  /** Without memory for code the interpreter goes on alone. */
  #compile(bytes: Uint8Array): WebAssembly.Instance['exports'] | undefined {
    try {
      this.#machinery ??= this.#newMachinery();
      return new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#imports).exports;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#hot = Number.POSITIVE_INFINITY;
      this.#dropAll();
      return undefined;
    }
  }

  #newMachinery(): Machinery {
    optimizeLate();
    this.#workspace.open();
    const table = new WebAssembly.Table({ initial: this.#regions, element: 'anyfunc' });
    return { table, dispatch: dispatcher(this.#workspace, table) };
  }

  /** A region for hot code, already in the cache. */
  #region(core: Core, { pc, delta, context, paged }: Wanted): Region | undefined {
    const { memory } = core;
    this.#cache.cool(pc - delta);
    const isKnown = (at: number): boolean =>
      this.#cache.find(at - delta, at, context.id, memory, this.#fences) !== undefined;
    if (isKnown(pc)) return undefined;
    // where code is paged, the next page may be anywhere
    const start = paged ? pc - ((pc - delta) % PAGE) : memory.base;
    const end = paged ? start + PAGE : memory.base + memory.size;
    const fetch = (at: number): number | undefined =>
      at >= start && at + 2 <= end ? memory.u16[(at - delta) / 2] : undefined;
    const blocks = discover(fetch, pc, { translates: (decoded) => translates(decoded, context), isKnown });
    const first = blocks.find((block) => block.pc === pc);
    if (!first || !translates(first.instructions[0]!, context)) return undefined;
    const slot = this.#cache.nextSlot();
    const region = new Region(blocks, pc, context, this.#places(core, context), slot);
    const { least, entries } = region;
    this.#cache.add({ slot, least, blocks, entries, delta, context: context.id, fences: this.#fences }, memory);
    return region;
  }

  #places({ memory }: Core, { id }: Context): Places {
    const { base, size, offset } = memory;
    return {
      ram: { base, offset, size },
      workspace: this.#workspace.at,
      jumps: this.#workspace.jumps(id),
      tlbs: this.#workspace.tlbs(id),
    };
  }

  /**
   * Called by translations: an instruction of F or D on registers in memory. 0 if it is illegal.
   */
  #float(word: number): number {
    const core = this.#core!;
    const legal = executeFloat(core, word);
    core.x[0] = 0n;
    return legal ? 1 : 0;
  }

  /**
   * Called by translations: a CSR instruction on registers in memory. 0: the interpreter executes
   * it, because it is illegal, or because interrupts are to be looked at.
   */
  #csr(word: number): number {
    const core = this.#core!;
    if (++this.#csrs > CSR_MOST || !executeCsr(core, word)) return 0;
    core.x[0] = 0n;
    return 1;
  }

  /**
   * Called by translations: puts the page of an access into the TLB. 0 if that does not make the
   * access one of RAM.
   */
  #fill(vaddr: number, kind: Access, size: number): number {
    const core = this.#core!;
    const { memory } = core;
    const within = vaddr & (PAGE - 1);
    if (within + size > PAGE || !isExact(vaddr)) return 0;
    const gpa = core.mmu.translate(memory, vaddr, kind, core.dataMode);
    if (gpa < 0 || !memory.isRam(gpa - within, PAGE)) return 0;
    const page = vaddr - within;
    this.#contexts.addPage(this.#context!, kind, page, gpa - within - memory.base + memory.offset - page);
    return 1;
  }
}
