/** Harts on threads of their own, on shared RAM, which run litmus tests. */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';

import { WORKSPACE_BYTES } from '../../../../guest/riscv/translate/workspace.ts';
import { startWorker } from '../../../../platform/thread.ts';
import type { Accel } from '../../../../vmm/machine/hart-local/hart-local.ts';
import { RAM_BASE } from '../fixture.ts';
import { codeOf, HERE, LEFT, type Pace, PROGRESS, RESULTS, ROUND } from './code.ts';
import { finds, type Litmus, type Outcome, outcomeOf } from './program.ts';

export interface HartInput {
  readonly memory: WebAssembly.Memory;
  readonly ramSize: number;
  /** Where the hart's translator has its room; absent for the interpreter. */
  readonly workspace?: number;
}

export interface HartTask {
  readonly pc: number;
  /** Values by the number of a register. */
  readonly registers: Readonly<Record<number, number>>;
}

/** Each waits for the others for some 10 to 100 µs. */
const PACES: Readonly<Record<Accel, Pace>> = {
  golden: { patience: 1000, longestWait: 8 },
  jit: { patience: 8000, longestWait: 256 },
};
const MOST_ROUNDS = 4000;
const CODE = 4096;
/** RAM: code of each hart, progress, results of each hart, the locations of all rounds. */
const MOST_HARTS = 4;
const PROGRESS_AT = MOST_HARTS * CODE;
const RESULT_BYTES = MOST_ROUNDS * 8 * 8;
const RESULTS_AT = PROGRESS_AT + CODE;
const LOCATIONS_AT = RESULTS_AT + MOST_HARTS * RESULT_BYTES;
const WASM_PAGE = 65536;
const RAM_SIZE = Math.ceil((LOCATIONS_AT + MOST_ROUNDS * ROUND) / WASM_PAGE) * WASM_PAGE;

export class Harts {
  readonly #ram: Uint8Array;
  readonly #words: Int32Array;
  readonly #results: BigInt64Array;
  readonly #workers: readonly Worker[];
  readonly #pace: Pace;

  private constructor(memory: WebAssembly.Memory, workers: readonly Worker[], pace: Pace) {
    this.#pace = pace;
    this.#ram = new Uint8Array(memory.buffer, 0, RAM_SIZE);
    this.#words = new Int32Array(memory.buffer, 0, RAM_SIZE / 4);
    this.#results = new BigInt64Array(memory.buffer, 0, RAM_SIZE / 8);
    this.#workers = workers;
  }

  static async start(harts: number, accel: Accel): Promise<Harts> {
    const pages = (RAM_SIZE + harts * WORKSPACE_BYTES) / WASM_PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const workers = Array.from({ length: harts }, (_, hart) => {
      const workspace = accel === 'jit' ? { workspace: RAM_SIZE + hart * WORKSPACE_BYTES } : {};
      const input: HartInput = { memory, ramSize: RAM_SIZE, ...workspace };
      return startWorker('test/guest/riscv/litmus/hart-worker', input, { name: `hart ${hart}` });
    });
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    return new Harts(memory, workers, PACES[accel]);
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** Runs the test so many times; the outcomes that were seen, and how often. */
  async run(litmus: Litmus, rounds: number): Promise<ReadonlyMap<Outcome, number>> {
    this.#ram.fill(0, PROGRESS_AT);
    for (const [hart, program] of litmus.entries()) {
      this.#words.set(codeOf(program, hart, litmus.length, this.#pace), (hart * CODE) / 4);
    }
    await Promise.all(litmus.map((_, hart) => this.#ask(hart, rounds)));
    const seen = new Map<Outcome, number>();
    for (let round = 0; round < rounds; round++) {
      const outcome = outcomeOf(litmus.map((program, hart) => this.#found(hart, round, program.filter(finds).length)));
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }
    return seen;
  }

  async #ask(hart: number, rounds: number): Promise<void> {
    const worker = this.#workers[hart]!;
    const done = once(worker, 'message');
    const task: HartTask = {
      pc: RAM_BASE + hart * CODE,
      registers: {
        [HERE]: RAM_BASE + LOCATIONS_AT,
        [RESULTS]: RAM_BASE + RESULTS_AT + hart * RESULT_BYTES,
        [PROGRESS]: RAM_BASE + PROGRESS_AT,
        [LEFT]: rounds,
      },
    };
    worker.postMessage(task);
    await done;
  }

  #found(hart: number, round: number, loads: number): readonly number[] {
    const at = (RESULTS_AT + hart * RESULT_BYTES) / 8 + round * loads;
    return Array.from(this.#results.subarray(at, at + loads), Number);
  }
}
