/** Where things lie in the Memory of a guest that stores one number after the other. */
import { JOURNAL_BYTES } from '../../../../guest/riscv/journal-layout.ts';
import { WORKSPACE_BYTES } from '../../../../guest/riscv/translate/workspace.ts';

const WASM_PAGE = 65536;
export const RAM_SIZE = WASM_PAGE;
/** In RAM: the number; a word with which the writer is let go; one that is 1 at its end. */
export const NUMBER_AT = 0x8000;
export const START_AT = 0xb000;
export const END_AT = 0xc000;
export const WORKSPACE_AT = RAM_SIZE;
export const JOURNAL_AT = WORKSPACE_AT + WORKSPACE_BYTES;
export const PAGES = Math.ceil((JOURNAL_AT + JOURNAL_BYTES) / WASM_PAGE);

export interface WriterInput {
  readonly memory: WebAssembly.Memory;
  /** It adds 1 to what a1 points at, for ever. */
  readonly program: readonly number[];
  /** As the translator has it. */
  readonly hot: number;
  /** So many states, each with a journal of its own. */
  readonly states: number;
}
