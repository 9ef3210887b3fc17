/**
 * What translations call: the interpreter's functions, and what keeps the workspace. Each returns 0
 * (`fill`: NOWHERE) where the interpreter is to execute the instruction: because it traps, or
 * because the calls since interrupts were looked at have taken long enough.
 */
import type { Core } from '../core.ts';
import { executeFloat } from '../execute-float.ts';
import { type AccessSize, isExact } from '../memory.ts';
import { type Access, FETCH, LOAD } from '../pmp.ts';
import { executeCsr } from '../zicsr.ts';
import { decodeInto, leaveUndecoded } from './cold.ts';
import type { Contexts } from './contexts.ts';
import { type Context, LOAD_RAM, NOWHERE } from './emitter.ts';
import { JUMPS, LOADED, type Room, type Workspace } from './workspace.ts';

/** Some 50 µs, in tenths of a microsecond. */
const MOST = 500;
const CSR_COST = 1;
const FLOAT_COST = 3;
const FILL_COST = 10;
/** Most take far less; one that another thread makes can take ten times as long. */
const DEVICE_COST = 50;
const DECODE_COST = 10;
export const LOOKUP_COST = 10;
const PAGE = 4096;
/** Page numbers below that are uint32. */
const MOST_DEVICES = 2 ** 44;

export class Services {
  readonly imports: WebAssembly.Imports;
  readonly #workspace: Workspace;
  readonly #contexts: Contexts;
  #core: Core | undefined;
  #context: Context | undefined;
  /** The address of its jump cache. */
  #jumps = 0;
  /** The vaddr of a load that a device has just refused; NaN: none. */
  #refused = Number.NaN;
  /** What of MOST has been used. */
  #used = 0;

  constructor(room: Room, workspace: Workspace, contexts: Contexts) {
    this.#workspace = workspace;
    this.#contexts = contexts;
    this.imports = {
      e: {
        memory: room.memory,
        fill: (vaddr: number, kind: Access | typeof LOAD_RAM, size: AccessSize) => this.#fill(vaddr, kind, size),
        float: (word: number) => this.#float(word),
        csr: (word: number) => this.#csr(word),
        decode: (word: number, entryAt: number) => this.#decode(word, entryAt),
      },
    };
  }

  /** Interrupts have been looked at; translations of this context run now. */
  begin(core: Core, context: Context): void {
    this.#core = core;
    this.#used = 0;
    this.#take(context);
    this.#workspace.i32[JUMPS / 4] = this.#jumps;
  }

  #take(context: Context): void {
    this.#context = context;
    this.#jumps = this.#workspace.jumps(context.id);
  }

  /** HOT. The context that traps in wasm have left, with the core as it is in it. */
  follow(): Context {
    if (this.#workspace.i32[JUMPS / 4] !== this.#jumps) {
      this.#core!.look();
      this.#take(this.#contexts.of(this.#core!)!); // trap.ts knows only those that are there
    }
    return this.#context!;
  }

  /** The vaddr of the load that the interpreter is left and a device has refused; NaN: another. */
  takeRefused(): number {
    const vaddr = this.#refused;
    this.#refused = Number.NaN;
    return vaddr;
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

  /**
   * Where in the Memory an access is made: in RAM, whose page comes into the TLB; for a load from a
   * device where its value has been put.
   */
  #fill(vaddr: number, kind: Access | typeof LOAD_RAM, size: AccessSize): number {
    const context = this.follow();
    const core = this.#core!;
    const { memory } = core;
    const within = vaddr & (PAGE - 1);
    if (within + size > PAGE || !isExact(vaddr)) return NOWHERE;
    const page = vaddr - within;
    const known = kind === LOAD ? this.#contexts.devicePage(context, page) : -1;
    if (known >= 0) return this.#loadDevice(vaddr, known + within, size);
    if (!this.mayTake(FILL_COST)) return NOWHERE;
    const access = kind === LOAD_RAM ? LOAD : kind;
    const gpa = core.mmu.translate(memory, vaddr, access, access === FETCH ? core.csr.mode : core.dataMode);
    if (gpa < 0) return NOWHERE;
    if (memory.isRam(gpa - within, PAGE)) {
      const at = gpa - memory.base + memory.offset;
      this.#contexts.addPage(context, access, page, at - vaddr);
      return at;
    }
    // else the interpreter's caller wants to look after it
    const isQuiet = kind === LOAD && !context.counted && !context.journaled;
    if (!isQuiet || gpa >= MOST_DEVICES) return NOWHERE;
    this.#contexts.addDevicePage(context, page, gpa - within);
    return this.#loadDevice(vaddr, gpa, size);
  }

  /** A load that leaves the region would leave it for a look at the interrupts, too. */
  #loadDevice(vaddr: number, gpa: number, size: AccessSize): number {
    if (!this.mayTake(DEVICE_COST)) return NOWHERE;
    const value = this.#core!.memory.load(gpa, size);
    if (value === undefined) {
      this.#refused = vaddr;
      return NOWHERE;
    }
    this.#workspace.i64[LOADED / 8] = value;
    return this.#workspace.address(LOADED);
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
