/**
 * Runs a hart by translating hot code to WebAssembly. Code that is not hot is interpreted by a
 * function of WebAssembly, too (cold.ts). The interpreter (execute.ts) executes the rest: the first
 * instructions of all, and single ones that the others leave to it. Between two instructions the
 * state of the hart is where the interpreter keeps it.
 */
import { bitsOf } from '../address.ts';
import type { Core } from '../core.ts';
import { execute } from '../execute.ts';
import type { Executor } from '../hart.ts';
import { CAUSE_LOAD_ACCESS } from '../isa.ts';
import { isExact } from '../memory.ts';
import { FETCH } from '../pmp.ts';
import { executeSystem } from '../system.ts';
import { jump, raise } from '../trap.ts';
import { TranslationCache } from './cache.ts';
import type { ColdOptions } from './cold.ts';
import { Contexts } from './contexts.ts';
import { discover } from './discover.ts';
import { BUDGET, type Context, HOT as IS_HOT, LOOKUP, type Places } from './emitter.ts';
import { Machinery } from './machinery.ts';
import { type Made, Queue, type Wanted } from './queue.ts';
import { Region, translates } from './region.ts';
import { LOOKUP_COST, Services } from './services.ts';
import { COLD, ENTRY_MASK, LEAST_SHIFT, LEFT, PC, PC_BITS, PENDING, type Room, Workspace } from './workspace.ts';

/**
 * The interpreter executes so many instructions before there is code for the others, unless it has
 * been made ahead: that takes some 15 ms.
 */
const FIRST = 16_384;
/** So many instructions it executes at a time. */
const INTERPRET = 512;
/** A region costs half a millisecond, and saves some 3 ns an instruction. */
const HOT = 32_768;
/** Hot code waits for other code until it is so many times as hot. */
const URGENT = 4;
/** Each takes 20 KB of this process' memory (Node 20), whatever its size. */
const REGIONS = 4096;
const MOST_HEAT = 2 ** 31 - 1;
const PAGE = 4096;
/** Of an instruction's word: the opcode of CSR instructions, traps and xRET. */
const OPCODE = 0x7f;
const SYSTEM = 0x73;

export interface TranslatorOptions {
  /**
   * So many interpreted instructions in a cache line of code make it hot. 0: all code is translated
   * before it is executed, however long that takes.
   */
  readonly hot?: number;
  /** So many instructions the interpreter executes first, unless the code is made ahead. */
  readonly first?: number;
  /** The most regions at a time. */
  readonly regions?: number;
}

export class Translator implements Executor {
  /** Some 5 µs; a loop of a few instructions does it in 1. A look takes 0.13 µs. */
  readonly pollEvery = 1 << 13;
  readonly #workspace: Workspace;
  readonly #regions: number;
  readonly #services: Services;
  readonly #hot: number;
  /** Instructions until it is tried to make the machinery. */
  #first: number;
  #machinery: Machinery | undefined;
  readonly #cache: TranslationCache;
  readonly #queue: Queue;
  readonly #contexts: Contexts;
  #core: Core | undefined;
  #isJournaled = false;
  /** Whether slot COLD has the function that it should have. */
  #hasCold = false;
  #fences = 0;
  /** Instructions interpreted, and regions translated so far. */
  interpreted = 0;
  translated = 0;

  constructor(room: Room, { hot = HOT, regions = REGIONS, first = FIRST }: TranslatorOptions = {}) {
    this.#hot = Math.min(hot, MOST_HEAT);
    this.#first = first;
    this.#cache = new TranslationCache(regions);
    this.#regions = regions;
    this.#workspace = new Workspace(room);
    this.#contexts = new Contexts(this.#workspace);
    this.#queue = new Queue({
      make: (wanted) => this.#make(this.#core!, wanted),
      compile: (made) => this.#compile(made),
      show: (region) => this.#show(region),
    });
    this.#services = new Services(room, this.#workspace, this.#contexts);
  }

  get registers(): Workspace['registers'] {
    return this.#workspace.registers;
  }

  /**
   * Makes what would hold the guest up for some 15 ms when it is needed first, for RAM that lies
   * there. Another translator may use the workspace meanwhile.
   */
  prepare(ram: Places['ram']): void {
    this.#unlessFull(() => {
      this.#machinery ??= new Machinery(this.#workspace, this.#services.imports, this.#regions);
      this.#machinery.prepare(this.#coldOptions(ram));
    });
    if (this.#machinery) this.#first = 0;
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
    const isJournaled = journal !== undefined;
    if (isJournaled !== this.#isJournaled) this.#setJournaled(isJournaled);
    return this.#execute(core, isJournaled ? Math.min(budget, journal.room) : budget);
  }

  #execute(core: Core, budget: number): number {
    core.look();
    this.#follow(core);
    const machinery = this.#ready(core);
    if (!machinery) return this.#interpret(core, budget);
    if (this.#queue.isDue) this.#queue.step();
    let context = this.#contextOf(core);
    this.#services.begin(core, context);
    const { i32 } = this.#workspace;
    i32[PENDING / 4] = core.csr.mip() & core.csr.mie;
    let left = budget;
    for (;;) {
      const { pc: at } = core;
      if (!this.#contexts.knowsJump(context, at)) {
        if (!this.#services.mayTake(LOOKUP_COST)) return budget - left;
        const offset = this.#codeOffset(core, at);
        if (offset < 0) return left < budget ? budget - left : this.#interpret(core, budget);
        this.#addJump(core, offset, context);
        if (!this.#machinery) return budget - left; // no memory is left for code
      }
      const entry = this.#workspace.jumpEntry(context.id, at);
      const isShort = entry >>> LEAST_SHIFT > left;
      if (isShort && left < budget) return budget - left;
      const slot = isShort ? COLD : this.#workspace.jumpSlot(context.id, at);
      i32[PC_BITS / 4] = at;
      i32[PC_BITS / 4 + 1] = Math.floor(at / 2 ** 32);
      const why = machinery.dispatch(entry & ENTRY_MASK, left, slot, this.#workspace.jumps(context.id));
      const rest = i32[LEFT / 4]!;
      core.csr.begun += left - rest;
      left = rest;
      const pc = this.#workspace.f64[PC / 8]!;
      if (!isExact(pc)) {
        jump(core, BigInt.asUintN(64, this.#workspace.i64[PC_BITS / 8]!));
        return budget - left;
      }
      core.pc = pc;
      context = this.#services.follow();
      if (why === LOOKUP) continue;
      if (why === IS_HOT) {
        this.#want(core, this.#codeOffset(core, pc), context);
        if (!this.#machinery) return budget - left;
        continue;
      }
      // Cold code looks at the next page before it looks at the budget.
      if (why === BUDGET || left === 0) return budget - left;
      this.interpreted++;
      return budget - left + (this.#raisesRefused(core) || this.#executesSystem(core) ? 1 : execute(core, 1));
    }
  }

  #interpret(core: Core, most: number): number {
    const begun = execute(core, Math.min(most, INTERPRET));
    this.interpreted += begun;
    return begun;
  }

  /** Translations that write into the journal are others than those that do not. */
  #setJournaled(journaled: boolean): void {
    this.#isJournaled = journaled;
    this.#hasCold = false;
    this.#dropAll();
    this.#contexts.clear();
  }

  /** The trap of the load at core.pc, if a device has refused it. */
  #raisesRefused(core: Core): boolean {
    const vaddr = this.#services.takeRefused();
    if (Number.isNaN(vaddr)) return false;
    raise(core, CAUSE_LOAD_ACCESS, bitsOf(vaddr), bitsOf(core.pc));
    core.csr.begun++;
    return true;
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
    if (!this.#cache.isInUseUnchanged(core.memory, this.#fences)) this.#contexts.forgetJumps();
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
    const end = this.#cache.clear();
    this.#machinery?.forgetRegions(end);
    this.#queue.clear();
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

  /** The jump cache knows core.pc, at `offset` in RAM, afterwards: as a region's, or as cold. */
  #addJump(core: Core, offset: number, context: Context): void {
    const { pc, memory } = core;
    let found = this.#cache.find(offset, pc, context.id, memory, this.#fences);
    if (!found && this.#workspace.i32[this.#workspace.heatWord(pc)]! >= this.#hot) {
      this.#want(core, offset, context);
      found = this.#cache.find(offset, pc, context.id, memory, this.#fences);
    }
    if (!found?.region.shown) {
      this.#contexts.addJump(context, pc, COLD, 1 << LEAST_SHIFT);
      return;
    }
    const { region, index } = found;
    this.#cache.use(region);
    this.#contexts.addJump(context, pc, region.slot, index | (region.least << LEAST_SHIFT));
  }

  /** The code at core.pc is hot: it is translated, perhaps later. */
  #want(core: Core, offset: number, context: Context): void {
    const { pc } = core;
    const { i32 } = this.#workspace;
    const line = this.#workspace.heatWord(pc);
    const isUrgent = this.#queue.waits(line);
    if (!isUrgent) {
      i32[line]! -= (URGENT - 1) * this.#hot; // hot again when it is urgent
      if (this.#queue.isBusyWith(line)) return;
      this.#queue.want({ line, pc, delta: pc - offset, context, paged: core.codePaged });
    }
    if (isUrgent || i32[line]! >= this.#hot) this.#queue.hurry();
    while (this.#hot === 0 && this.#queue.isDue) this.#queue.step();
  }

  #compile(made: readonly Made[]): boolean {
    const slots = made.map(({ region }) => region.slot);
    const bodies = made.map(({ body }) => body);
    if (!this.#unlessFull(() => this.#machinery!.setRegions(slots, bodies))) return false;
    this.translated += made.length;
    return true;
  }

  /** What of the region was cold is looked up anew. */
  #show({ slot, context, entries }: Region): void {
    this.#cache.show(slot);
    for (const { pc } of entries) if (this.#contexts.knowsJump(context, pc)) this.#contexts.forgetJump(context, pc);
  }

  /** Without memory for code the interpreter goes on alone; false then. */
  #unlessFull(make: () => void): boolean {
    try {
      make();
      return true;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#dropAll();
      this.#machinery = undefined;
      this.#first = Number.POSITIVE_INFINITY;
      return false;
    }
  }

  /** All that code needs, once enough has been interpreted. */
  #ready(core: Core): Machinery | undefined {
    if (this.#hasCold) return this.#machinery;
    if (this.interpreted < this.#first) return undefined;
    this.#hasCold = this.#unlessFull(() => {
      this.#machinery ??= new Machinery(this.#workspace, this.#services.imports, this.#regions);
      this.#machinery.open();
      this.#machinery.setCold(this.#coldOptions(ramOf(core)));
    });
    return this.#machinery;
  }

  #coldOptions(ram: Places['ram']): ColdOptions {
    const { at: workspace, journal } = this.#workspace;
    return { places: { ram, workspace, journal }, journaled: this.#isJournaled, hot: this.#hot };
  }

  /** A region for hot code, already in the cache, and its function. */
  #make(core: Core, { pc, delta, context, paged }: Wanted): Made | undefined {
    const { memory } = core;
    this.#workspace.i32[this.#workspace.heatWord(pc)] = 0;
    if (!this.#cache.hasRoom(1)) this.#dropAll();
    const isKnown = (at: number): boolean =>
      this.#cache.find(at - delta, at, context.id, memory, this.#fences) !== undefined;
    if (isKnown(pc)) return undefined;
    // where code is paged, the next page may be anywhere
    const start = paged ? pc - ((pc - delta) % PAGE) : memory.base;
    const end = paged ? start + PAGE : memory.base + memory.size;
    // what was translated is what is compared later, whoever changes it meanwhile
    const code = new Map<number, number>();
    const fetch = (at: number): number | undefined => {
      if (at < start || at + 2 > end) return undefined;
      const parcel = code.get(at) ?? memory.u16[(at - delta) / 2]!;
      code.set(at, parcel);
      return parcel;
    };
    const blocks = discover(fetch, pc, { translates: (decoded) => translates(decoded, context), isKnown });
    const first = blocks.find((block) => block.pc === pc);
    if (!first || !translates(first.instructions[0]!, context)) return undefined;
    const slot = this.#cache.nextSlot();
    const region = new Region(blocks, pc, context, this.#places(core, context.id), slot);
    const { least, entries } = region;
    const added = { slot, least, code, blocks, entries, delta, context: context.id, fences: this.#fences };
    this.#cache.add(added, memory);
    return { region, body: region.body() };
  }

  #places(core: Core, id: number): Places {
    return {
      ram: ramOf(core),
      workspace: this.#workspace.at,
      journal: this.#workspace.journal,
      jumps: this.#workspace.jumps(id),
      tlbs: this.#workspace.tlbs(id),
    };
  }
}

const ramOf = ({ memory: { base, offset, size } }: Core): Places['ram'] => ({ base, offset, size });
