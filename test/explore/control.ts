/**
 * The words by which explorer and actors run one actor at a time. All words but `go` are plain data
 * of the thread that holds the baton: the hand-over (store to go, wait on go) orders them, so they
 * need no Atomics of their own.
 */
import { atomic32, bytes, defineShared, word64 } from '../../platform/shared.ts';

export const MAX_ACTORS = 8;
/** The explorer's own number, after the actors'. */
export const MAIN = MAX_ACTORS;
/**
 * A pick below this lets an actor run; from it on, it fires the time-out of actor (pick − TIMEOUT).
 */
export const TIMEOUT = 16;
/** No decision: the default rule. */
export const DEFAULT = -1;

export const Control = defineShared('explorer control', {
  ready: atomic32, // bit per actor that can run
  timed: atomic32, // bit per actor blocked in a wait with a finite time-out
  unfinished: atomic32, // bit per actor whose body has not returned
  daemons: atomic32, // bit per actor that need not return
  step: atomic32, // grants made so far in this execution
  current: atomic32, // the last actor granted
  preemptions: atomic32, // left in this execution
  maxSteps: atomic32,
  timeouts: atomic32, // TIMEOUTS_*
  random: atomic32, // xorshift32 state; 0 = systematic
  forced: atomic32, // number of leading entries of picks that are decisions, not records
  outcome: atomic32, // OUTCOME_*
  aborting: atomic32, // 1 while the explorer unwinds the actors
  leaving: atomic32, // 1 when the actors are to go back to their event loops
  logging: atomic32, // 1 when every step is written to the text
  textLength: atomic32, // bytes of text written
  learned: atomic32, // 1 when this execution found a new conflicting word
  waits: atomic32, // waits so far: their order is the order of wake-ups
  spinning: atomic32, // bit per actor that loads a word again and again and would see it change only by another's write
  idleSpins: atomic32, // times that spinning actors were let go on because nobody else could
  execution: atomic32, // number of this execution; entries of `history` with another one are empty
  pad0: bytes(4),
  clock: word64, // modelled milliseconds; moved by time-outs
  pad1: bytes(32),
  // Per actor, 2 words: hash of all it has done and of what that depended on.
  pasts: bytes(8 * MAX_ACTORS),
  // Per actor, one line of 16 words: what it is blocked on.
  blocked: bytes(64 * MAX_ACTORS),
  // Per actor and the explorer, one line of 16 words: 1 gives the baton.
  go: bytes(64 * (MAX_ACTORS + 1)),
});

/** Words of an actor's line in `blocked`. */
export const BLOCKED_BUFFER = 0; // number of the buffer, −1 when not blocked
export const BLOCKED_WORD = 1;
export const BLOCKED_ORDER = 2; // value of `waits` when it blocked
export const BLOCKED_TIMED_OUT = 3; // set by who fires the time-out
export const BLOCKED_DEADLINE = 2; // index of a float64 in the line, i.e. words 4 and 5

export const SPIN_BUFFER = 6;
export const SPIN_WORD = 7;

export const LINE = 16;
export const blockedLine = (actor: number): number => Control.offset.blocked / 4 + actor * LINE;
export const goWord = (actor: number): number => Control.offset.go / 4 + actor * LINE;

export const OUTCOME_RUNNING = 0;
export const OUTCOME_DONE = 1;
export const OUTCOME_DEADLOCK = 2;
export const OUTCOME_STEPS = 3;
export const OUTCOME_THREW = 4;
export const OUTCOME_DIVERGED = 5;

export const TIMEOUTS_NEVER = 0;
export const TIMEOUTS_IDLE = 1;
export const TIMEOUTS_ANY = 2;

/** Per step: two hashes of the state, and the preemptions left in it. */
export const STATE_WORDS = 3;

/**
 * Per word: number of the execution it belongs to, two hashes of the last write, two of the reads
 * since.
 */
export const HISTORY_WORDS = 5;

export const TEXT_BYTES = 1 << 20;

/** Everything the threads of one exploration share besides the scenario's memory. */
export interface ControlBuffers {
  readonly control: SharedArrayBuffer;
  /** Int8 per step: the decision to take (while step < forced) and then the decision taken. */
  readonly picks: SharedArrayBuffer;
  /** Int32 per step: the picks that were possible within the preemption bound. */
  readonly options: SharedArrayBuffer;
  /** STATE_WORDS Int32 per step with a choice: hashes of the state in which it was made. */
  readonly states: SharedArrayBuffer;
  /** Int32 per step: what the granted actor accessed (enumeration.ts). */
  readonly accesses: SharedArrayBuffer;
  /** UTF-8: the log and the message of a failed actor. */
  readonly text: SharedArrayBuffer;
  /**
   * Uint16 per 32-bit word of each buffer: bits of actors that accessed it, and (<< 8) that may
   * have written it.
   */
  readonly access: readonly SharedArrayBuffer[];
  /**
   * HISTORY_WORDS Int32 per 32-bit word of each buffer, and of one word more for effects outside of
   * them.
   */
  readonly history: readonly SharedArrayBuffer[];
}

/** The name under which an actor's bundle asks for libc. */
export const LIBC = 'livevmm:libc';

/**
 * Message to an actor's thread: become this actor. Answered when it is ready, and again when it has
 * left.
 */
export interface ActorAssignment {
  readonly code: string;
  readonly codeName: string;
  readonly scenario: string;
  readonly actor: string;
  readonly index: number;
  readonly memory: Readonly<Record<string, SharedArrayBuffer>>;
  readonly buffers: ControlBuffers;
}

export interface ActorReply {
  readonly error?: string;
}
