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

  /** The table has slots [0, slots). */
  constructor(workspace: Workspace, imports: WebAssembly.Imports, slots: number) {
    workspace.open();
    this.#imports = imports;
    this.#table = new WebAssembly.Table({ initial: slots, element: 'anyfunc' });
    this.dispatch = dispatcher(workspace, this.#table);
  }

  /** From now on slot COLD has this function. */
  setCold(options: ColdOptions): void {
    const which = Number(options.journaled);
    this.#cold[which] ??= this.#compile([coldBody(options)])[0];
    this.#table.set(COLD, this.#cold[which]);
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
    return new WebAssembly.Instance(new WebAssembly.Module(moduleOfRegions(bodies)), this.#imports).exports;
  }
}
