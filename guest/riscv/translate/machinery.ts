/**
 * The code that a translator has: the table of its functions, the dispatcher, the function of cold
 * code, and what compiles regions. Whatever makes code throws a RangeError when there is no memory
 * for it.
 */
import { type ColdOptions, coldBody } from './cold.ts';
import { type Dispatch, dispatcher } from './dispatcher.ts';
import { moduleOfRegions } from './region.ts';
import type { Body } from './wasm.ts';
import { COLD, type Workspace } from './workspace.ts';

type Exports = WebAssembly.Instance['exports'];

export class Machinery {
  readonly dispatch: Dispatch;
  readonly #table: WebAssembly.Table;
  readonly #imports: WebAssembly.Imports;
  /** The function of cold code, without and with a journal. */
  readonly #cold: (Exports[string] | undefined)[] = [];
  readonly #workspace: Workspace;
  #isOpen = false;

  /** The table has slots [0, slots). */
  constructor(workspace: Workspace, imports: WebAssembly.Imports, slots: number) {
    this.#workspace = workspace;
    this.#imports = imports;
    this.#table = new WebAssembly.Table({ initial: slots, element: 'anyfunc' });
    this.dispatch = dispatcher(workspace, this.#table);
  }

  /** Comes before all use: nobody else uses the workspace any more. */
  open(): void {
    if (!this.#isOpen) this.#workspace.open();
    this.#isOpen = true;
  }

  /** From now on slot COLD has this function. */
  setCold(options: ColdOptions): void {
    this.#table.set(COLD, this.#coldOf(options));
  }

  /** Makes that function ahead, and has V8 compile it. Nothing is executed. */
  prepare(options: ColdOptions): void {
    const module = new WebAssembly.Module(moduleOfRegions([coldBody(options)]));
    this.#cold[Number(options.journaled)] = this.#functionsOf(module)[0];
    compileNow(module, this.#imports);
  }

  #coldOf(options: ColdOptions): Exports[string] | undefined {
    const which = Number(options.journaled);
    this.#cold[which] ??= this.#compile([coldBody(options)])[0];
    return this.#cold[which];
  }

  /** Compiles functions of regions for these slots, in one module. */
  setRegions(slots: readonly number[], bodies: readonly Body[]): void {
    const functions = this.#compile(bodies);
    for (const [i, slot] of slots.entries()) this.#table.set(slot, functions[i]);
  }

  /** Regions in [COLD + 1, end) are gone. */
  forgetRegions(end: number): void {
    for (let slot = COLD + 1; slot < end; slot++) this.#table.set(slot, null);
  }

  #compile(bodies: readonly Body[]): Exports {
    return this.#functionsOf(new WebAssembly.Module(moduleOfRegions(bodies)));
  }

  #functionsOf(module: WebAssembly.Module): Exports {
    return new WebAssembly.Instance(module, this.#imports).exports;
  }
}

/**
 * Has V8 compile the first function of a module, which it does when that is called first, whatever
 * the instance. This one has so little memory that the first access traps.
 */
function compileNow(module: WebAssembly.Module, imports: WebAssembly.Imports): void {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(module, { e: { ...imports.e, memory } });
  try {
    (exports[0] as (entry: number, left: number) => void)(0, 0);
  } catch (error) {
    if ((error as Error).name !== 'RuntimeError') throw error;
  }
}
