/**
 * The epoch protocol guarantees that no device touches memory after its unmap has returned
 * (docs/DESIGN.md, "The IOMMU" and "Invariants", 1).
 *
 * Each agent (device worker) has one word. Bit 0 is BUSY: a transaction may be under way. Bit 1 is
 * ATTENTION: the unit sets it when there is something in the invalidation log. The bits above them
 * are a number that grows with each transaction.
 *
 *   agent                                          command queue
 *   add to the word: BUSY, next number    (A)      (software has cleared PTEs)
 *     ATTENTION in what it was? clear it,          append to the log, store generation
 *     apply the log to the caches                  set ATTENTION in each word               (B)
 *   look up, copy                                  fence: a word is BUSY?
 *                                                    wait until its number changes
 *   … next transaction, or clear BUSY
 *
 * A and B are atomic operations on one word, so one comes first. If B comes first, the agent drops
 * its cached entries before it looks up. If A comes first, the fence finds the word busy with that
 * transaction and waits for its end, or finds the word already past it. One read-modify-write per
 * transaction costs half of a store of the epoch and a load of the generation (20 against 33 ns).
 */
import { Agent, agentBase, Unit } from './unit-memory.ts';

const BUSY = 1;
const ATTENTION = 2;
const NEXT = 4;

/** How long a fence looks at a word before it sleeps. Most transactions end within that time. */
const SPIN_MS = 0.05;

/** A device worker's side. */
export class AgentEpoch {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #waiters: number;
  #busy = false;
  #held = false;

  constructor(words: Int32Array, agent: number) {
    if (!(agent >= 0 && agent < words[Unit.word.nrAgents]!)) throw new RangeError(`the unit has no agent ${agent}`);
    this.#words = words;
    this.#at = agentBase(agent) + Agent.word.epoch;
    this.#waiters = agentBase(agent) + Agent.word.waiters;
    // a worker that had this number before may have been stopped inside a transaction
    Atomics.and(words, this.#at, ~BUSY);
  }

  /**
   * Begins a new transaction; the one before has thereby ended. True means that the caller must
   * call attend() before it uses any cache.
   */
  // HOT (each transaction; one atomic operation)
  begin(): boolean {
    // The word is BUSY with the transaction around this one: whoever sets ATTENTION after this load
    // waits for that one.
    if (this.#held) return (Atomics.load(this.#words, this.#at) & ATTENTION) !== 0;
    const step = this.#busy ? NEXT : NEXT | BUSY;
    this.#busy = true;
    // A: pairs with the or in attention and the loads in waitForAgents
    const before = Atomics.add(this.#words, this.#at, step);
    return (before & ATTENTION) !== 0;
  }

  /** Clears the unit's call for attention. The caller then reads the log. */
  attend(): void {
    // before the load of the generation: a later call sets it again
    Atomics.and(this.#words, this.#at, ~ATTENTION);
    this.#wake();
  }

  /**
   * Keeps the transaction that is under way until it is let go. What begins meanwhile is part of
   * it, and a fence waits for both.
   */
  hold(on: boolean): void {
    this.#held = on;
  }

  /** No transaction is under way. */
  end(): void {
    if (!this.#busy || this.#held) return;
    this.#busy = false;
    Atomics.and(this.#words, this.#at, ~BUSY); // pairs with the loads in waitForAgents
    this.#wake();
  }

  /** Wakes fences that sleep on an earlier value of the word. */
  #wake(): void {
    if (Atomics.load(this.#words, this.#waiters) > 0) Atomics.notify(this.#words, this.#at);
  }
}

/** Makes every agent read the log at the begin of its next transaction. */
export function callForAttention(words: Int32Array): void {
  const nrAgents = words[Unit.word.nrAgents]!;
  for (let agent = 0; agent < nrAgents; agent++) {
    // B: pairs with the add in AgentEpoch.begin
    Atomics.or(words, agentBase(agent) + Agent.word.epoch, ATTENTION);
  }
}

/**
 * Waits until every transaction that was under way at the call has ended. False after the unit's
 * time-out.
 */
export function waitForAgents(words: Int32Array): boolean {
  const nrAgents = words[Unit.word.nrAgents]!;
  const start = performance.now();
  const deadline = start + words[Unit.word.fenceTimeoutMs]!;
  for (let agent = 0; agent < nrAgents; agent++) {
    const at = agentBase(agent) + Agent.word.epoch;
    const then = Atomics.load(words, at); // pairs with the add and the and in AgentEpoch
    if ((then & BUSY) === 0) continue;
    while (((Atomics.load(words, at) ^ then) & ~ATTENTION) === 0) {
      const now = performance.now();
      if (now >= deadline) return false;
      if (now - start >= SPIN_MS) sleepOn(words, agent, then, deadline - now);
    }
  }
  return true;
}

/** Sleeps until the agent has gone on from `then`. */
function sleepOn(words: Int32Array, agent: number, then: number, timeoutMs: number): void {
  const at = agentBase(agent) + Agent.word.epoch;
  const waiters = agentBase(agent) + Agent.word.waiters;
  Atomics.add(words, waiters, 1); // pairs with the load in AgentEpoch.#wake
  Atomics.or(words, at, ATTENTION); // a busy agent looks at `waiters` only when called
  Atomics.wait(words, at, then | ATTENTION, timeoutMs); // woken by AgentEpoch.#wake
  Atomics.sub(words, waiters, 1);
}

/**
 * Clears the word of `agent` after its device worker has ended. A transaction it was in has ended
 * with it.
 */
export function releaseAgent(unit: SharedArrayBuffer, agent: number): void {
  const words = new Int32Array(unit);
  const at = agentBase(agent) + Agent.word.epoch;
  if ((Atomics.and(words, at, ~BUSY) & BUSY) !== 0) Atomics.notify(words, at);
}
