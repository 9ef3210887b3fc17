/**
 * The epoch protocol: when an unmap has returned, no device touches that memory (DESIGN §4, §11.1).
 *
 *   agent                                          fence (command queue)
 *   store epoch, odd and new          (A)          clear PTEs
 *   load generation                   (B)          store generation            (C)
 *   look up, copy                                  load each epoch             (D)
 *   … next transaction, or store epoch, even       odd: wait until it has changed
 *
 * All of A–D are sequentially consistent. Either B sees C and the agent drops what it has cached before it looks up; or
 * B came before C, so A came before D, and the fence waits for that transaction to end. An agent that was even at D
 * has not begun, and will see C.
 */
import { Agent, agentBase, Unit } from './unit-memory.ts';

/** How long a fence looks at an epoch before it sleeps: most transactions end within that. */
const SPIN_MS = 0.05;

/** A device worker's side. */
export class AgentEpoch {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #waiters: number;
  #epoch: number;

  constructor(words: Int32Array, agent: number) {
    if (!(agent >= 0 && agent < words[Unit.word.nrAgents]!)) throw new RangeError(`the unit has no agent ${agent}`);
    this.#words = words;
    this.#at = agentBase(agent) + Agent.word.epoch;
    this.#waiters = agentBase(agent) + Agent.word.waiters;
    this.#epoch = Atomics.load(words, this.#at);
  }

  /** A new transaction begins, and with it the one before has ended. Returns the unit's generation. */
  // HOT (each transaction; 13 ns)
  begin(): number {
    this.#epoch = (this.#epoch + 2) | 1 | 0;
    Atomics.store(this.#words, this.#at, this.#epoch); // A: pairs with the load in waitForAgents
    return Atomics.load(this.#words, Unit.word.generation); // B: pairs with the store in appendInvalidation
  }

  /** Wakes the fences that sleep on an epoch older than now: to be called when begin() showed a new generation. */
  wake(): void {
    if (Atomics.load(this.#words, this.#waiters) > 0) Atomics.notify(this.#words, this.#at);
  }

  /** No transaction is under way. */
  end(): void {
    if ((this.#epoch & 1) === 0) return;
    this.#epoch = (this.#epoch + 1) | 0;
    Atomics.store(this.#words, this.#at, this.#epoch); // pairs with the load in waitForAgents
    this.wake();
  }
}

/**
 * Waits until every transaction that was under way at the call has ended. False after the unit's time-out. `nudge` is
 * called before each sleep: it must make a busy agent look up from its work (a new generation).
 */
export function waitForAgents(words: Int32Array, nudge: () => void): boolean {
  const nrAgents = words[Unit.word.nrAgents]!;
  const start = performance.now();
  const deadline = start + words[Unit.word.fenceTimeoutMs]!;
  for (let agent = 0; agent < nrAgents; agent++) {
    const at = agentBase(agent) + Agent.word.epoch;
    const epoch = Atomics.load(words, at); // D: pairs with the stores in AgentEpoch
    if ((epoch & 1) === 0) continue;
    while (Atomics.load(words, at) === epoch) {
      const now = performance.now();
      if (now >= deadline) return false;
      if (now - start < SPIN_MS) continue;
      Atomics.add(words, agentBase(agent) + Agent.word.waiters, 1); // pairs with the load in AgentEpoch.wake
      nudge();
      Atomics.wait(words, at, epoch, deadline - now); // woken by AgentEpoch.wake
      Atomics.sub(words, agentBase(agent) + Agent.word.waiters, 1);
    }
  }
  return true;
}

/** The device worker of `agent` is no more: a transaction it was in has ended with it. */
export function releaseAgent(unit: SharedArrayBuffer, agent: number): void {
  const words = new Int32Array(unit);
  const at = agentBase(agent) + Agent.word.epoch;
  if ((Atomics.load(words, at) & 1) === 0) return;
  Atomics.add(words, at, 1); // pairs with the load in waitForAgents
  Atomics.notify(words, at);
}
