/** When V8 compiles WebAssembly anew, with its optimizing compiler. */
import { setFlagsFromString } from 'node:v8';

/**
 * Bytes of code that a function executes before, about: some 20 ms, a few times what the optimizing
 * compiler takes for a large function. V8's own number is 1.8 million (Node 20): with that the
 * compiler took half of all CPU time while a Linux booted.
 */
const BUDGET = 90_000_000;

/** From now on, for modules of this process: functions that have run for long only. */
export function optimizeLate(): void {
  setFlagsFromString(`--wasm-tiering-budget=${BUDGET}`);
}
