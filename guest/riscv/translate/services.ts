/**
 * What translations call: the interpreter's functions, and what keeps the workspace. Each returns 0
 * where the interpreter is to execute the instruction: because it traps, or because the calls since
 * interrupts were looked at have taken long enough.
 */
import type { Core } from '../core.ts';
import { executeFloat } from '../execute-float.ts';
import { isExact } from '../memory.ts';
import { type Access, FETCH } from '../pmp.ts';
import { executeCsr } from '../zicsr.ts';
import { decodeInto, leaveUndecoded } from './cold.ts';
import type { Contexts } from './contexts.ts';
import type { Context } from './emitter.ts';
import type { Room, Workspace } from './workspace.ts';

/** Some 50 µs, in tenths of a microsecond. */
const MOST = 500;
const CSR_COST = 1;
const FLOAT_COST = 3;
const FILL_COST = 10;
const DECODE_COST = 10;
export const LOOKUP_COST = 10;
const PAGE = 4096;

export class Services {
  readonly imports: WebAssembly.Imports;
  readonly #workspace: Workspace;
  readonly #contexts: Contexts;
  #core: Core | undefined;
  #context: Context | undefined;
  /** What of MOST has been used. */
  #used = 0;

  constructor(room: Room, workspace: Workspace, contexts: Contexts) {
    this.#workspace = workspace;
    this.#contexts = contexts;
    this.imports = {
      e: {
        memory: room.memory,
        fill: (vaddr: number, kind: Access, size: number) => this.#fill(vaddr, kind, size),
        float: (word: number) => this.#float(word),
        csr: (word: number) => this.#csr(word),
        decode: (word: number, entryAt: number) => this.#decode(word, entryAt),
      },
    };
  }

  /** Interrupts have been looked at; translations of this context run now. */
  begin(core: Core, context: Context): void {
    this.#core = core;
    this.#context = context;
    this.#used = 0;
  }

  /** An instruction of F or D on registers in memory. */
  #float(word: number): number {
    const core = this.#core!;
    if (!this.mayTake(FLOAT_COST) || !executeFloat(core, word)) return 0;
    core.x[0] = 0n;
    return 1;
  }

  /** A CSR instruction on registers in memory. */
  #csr(word: number): number {
    const core = this.#core!;
    if (!this.mayTake(CSR_COST) || !executeCsr(core, word)) return 0;
    core.x[0] = 0n;
    return 1;
  }

  /** Puts the page of an access into the TLB. 0 also where the access is not one of RAM then. */
  #fill(vaddr: number, kind: Access, size: number): number {
    const core = this.#core!;
    const { memory } = core;
    const within = vaddr & (PAGE - 1);
    if (!this.mayTake(FILL_COST) || within + size > PAGE || !isExact(vaddr)) return 0;
    const gpa = core.mmu.translate(memory, vaddr, kind, kind === FETCH ? core.csr.mode : core.dataMode);
    if (gpa < 0 || !memory.isRam(gpa - within, PAGE)) return 0;
    const page = vaddr - within;
    this.#contexts.addPage(this.#context!, kind, page, gpa - within - memory.base + memory.offset - page);
    return 1;
  }

  /** Decodes an instruction of cold code, or leaves it to the interpreter for once. */
  #decode(word: number, entryAt: number): void {
    if (this.mayTake(DECODE_COST)) decodeInto(this.#workspace, word, entryAt, this.#core!.csr.counted);
    else leaveUndecoded(this.#workspace, entryAt);
  }

  /** Whether what takes so long may be done before interrupts are looked at. */
  mayTake(cost: number): boolean {
    this.#used += cost;
    return this.#used <= MOST;
  }
}
