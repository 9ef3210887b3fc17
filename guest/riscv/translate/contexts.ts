/**
 * The contexts of a hart. Each has a jump cache and TLBs in the workspace; here is written down
 * what they hold, so that a flush touches no more than it must.
 */
import type { Core } from '../core.ts';
import * as isa from '../isa.ts';
import type { TranslationKeeper } from '../mmu.ts';
import { type Access, LOAD } from '../pmp.ts';
import type { Context } from './emitter.ts';
import { contextIndex } from './trap.ts';
import { CONTEXT_OF, CONTEXT_SETS, CONTEXTS, DEVICE, TLB_ADDEND, type Workspace } from './workspace.ts';

const PAGE = 4096;
/** Their memory holds anything, nothing, or entries. */
const UNKNOWN = 0;
const EMPTY = 1;
const USED = 2;
type Holds = typeof UNKNOWN | typeof EMPTY | typeof USED;

export class Contexts implements TranslationKeeper {
  readonly #workspace: Workspace;
  /** By what is true in them. */
  #byMeaning: (Context | undefined)[] = [];
  #count = 0;
  /** As it was when the CONTEXT_OF of the workspace was begun: M mode's contexts depend on it. */
  #locked = false;
  /** By id, which indexes the workspace's. */
  readonly #jumps: Holds[] = [];
  readonly #tlbs: Holds[] = [];
  /** By id: the pages on which the pcs of the jump cache lie, and perhaps others. */
  readonly #codePages = Array.from({ length: CONTEXTS }, () => new Set<number>());

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
  }

  /** The context that `core` is in now; undefined if there is no number left for it. */
  of(core: Core): Context | undefined {
    const { mode, mstatus, pmp } = core.csr;
    if (pmp.locked !== this.#locked) this.#forgetSets();
    this.#locked = pmp.locked;
    const context = this.#of(core);
    if (!context || this.#jumps[context.id] === UNKNOWN) return context;
    const index = contextIndex(mode, mstatus);
    if (index >= 0) this.#workspace.i32[CONTEXT_OF / 4 + index] = this.#workspace.jumps(context.id);
    return context;
  }

  #of({ csr, paged, dataMode, memory }: Core): Context | undefined {
    const { mode, mstatus } = csr;
    const float = (mstatus & isa.MSTATUS_FS) === isa.MSTATUS_FS;
    const data = paged
      ? (dataMode << 2) | (mstatus & isa.MSTATUS_SUM ? 2 : 0) | (mstatus & isa.MSTATUS_MXR ? 1 : 0)
      : -1;
    const meaning = ((data + 1) << 3) | (float ? 4 : 0) | mode;
    const known = this.#byMeaning[meaning];
    if (known || this.#count === CONTEXTS) return known;
    const id = this.#count++;
    const journaled = memory.journal !== undefined;
    const context: Context = { id, mode, paged, data, float, journaled, counted: csr.counted };
    this.#byMeaning[meaning] = context;
    this.#jumps[id] = UNKNOWN;
    this.#tlbs[id] = UNKNOWN;
    return context;
  }

  /** The numbers are free for other contexts. No region may be left that was made for one. */
  clear(): void {
    this.#byMeaning = [];
    this.#count = 0;
    this.#forgetSets();
  }

  /** Traps find no context by themselves. */
  #forgetSets(): void {
    const first = CONTEXT_OF / 4;
    for (let i = 0; i < CONTEXT_SETS; i++) this.#workspace.i32[first + i] = 0;
  }

  /** HOT. Whether the jump cache has `pc`. */
  knowsJump({ id }: Context, pc: number): boolean {
    return this.#jumps[id] === USED && this.#workspace.knowsJump(id, pc);
  }

  /** From now on translations find this one by themselves. `entry` is as JUMP_ENTRY has it. */
  addJump({ id }: Context, pc: number, slot: number, entry: number): void {
    if (this.#jumps[id] === UNKNOWN) this.#workspace.forgetJumps(id);
    if (this.#tlbs[id] === UNKNOWN) this.#emptyTlbs(id);
    this.#workspace.setJump(id, pc, slot, entry);
    this.#jumps[id] = USED;
    this.#codePages[id]!.add(Math.floor(pc / PAGE));
  }

  /** `pc`, which the jump cache knows, is looked up anew. */
  forgetJump({ id }: Context, pc: number): void {
    this.#workspace.forgetJump(id, pc);
  }

  /** HOT. Translations find the page at the vaddr `page` at its vaddr + `addend` in the Memory. */
  addPage({ id }: Context, kind: Access, page: number, addend: number): void {
    const { i32 } = this.#workspace;
    const word = this.#workspace.tlbWord(id, kind, page);
    i32[word] = page;
    i32[word + 1] = Math.floor(page / 2 ** 32);
    i32[word + TLB_ADDEND / 4] = addend;
    this.#tlbs[id] = USED;
  }

  /** The page of devices at the vaddr `page` has the gpa `gpa`. */
  addDevicePage({ id }: Context, page: number, gpa: number): void {
    const { i32 } = this.#workspace;
    const word = this.#workspace.tlbWord(id, LOAD, page);
    i32[word] = page | DEVICE;
    i32[word + 1] = Math.floor(page / 2 ** 32);
    i32[word + TLB_ADDEND / 4] = gpa / PAGE; // ToInt32
    this.#tlbs[id] = USED;
  }

  /** HOT. The gpa of the page of devices at the vaddr `page`; −1 if it is not known. */
  devicePage({ id }: Context, page: number): number {
    const { i32 } = this.#workspace;
    const word = this.#workspace.tlbWord(id, LOAD, page);
    const isKnown = i32[word] === (page | DEVICE) && i32[word + 1] === Math.floor(page / 2 ** 32);
    return isKnown ? (i32[word + TLB_ADDEND / 4]! >>> 0) * PAGE : -1;
  }

  /** Regions have gone, or code may have changed. */
  forgetJumps(): void {
    for (let id = 0; id < this.#count; id++) this.#emptyJumps(id);
  }

  forgetPages(): void {
    for (let id = 0; id < this.#count; id++) {
      this.#emptyJumps(id);
      if (this.#tlbs[id] === USED) this.#emptyTlbs(id);
    }
  }

  forgetPage(page: number): void {
    for (let id = 0; id < this.#count; id++) {
      if (this.#codePages[id]!.has(page / PAGE)) this.#emptyJumps(id);
      if (this.#tlbs[id] === USED) this.#workspace.forgetPage(id, page);
    }
  }

  #emptyJumps(id: number): void {
    if (this.#jumps[id] !== USED) return;
    this.#workspace.forgetJumps(id);
    this.#jumps[id] = EMPTY;
    this.#codePages[id]!.clear();
  }

  #emptyTlbs(id: number): void {
    this.#workspace.forgetTlbs(id);
    this.#tlbs[id] = EMPTY;
  }
}
