/**
 * The control words of the VMM: by them its threads steer the harts and the machine, and see what
 * these did. One buffer contains a MachineBlock and then a HartBlock for each hart. Every process
 * makes a fresh buffer: nothing here survives.
 */
import { atomic32, bytes, defineShared, type SharedPart, word64 } from '../../../platform/shared.ts';

/** The words that the machine has once. */
export const MachineBlock = defineShared('machine control block', {
  /**
   * Main: what the interrupt thread shall do, a requestWord. A parked interrupt thread sleeps on
   * it.
   */
  dispatch: atomic32,
  pad0: bytes(60),
  /**
   * Main: the number of the crew that the requests are for; counts up when the next crew takes
   * over. See `obeyed`.
   */
  crew: atomic32,
  pad1: bytes(60),
  /**
   * Main, while all threads are at rest: the passed-through devices that are gone, a bit for each.
   * The owner of what is shared reads it.
   */
  gone: atomic32,
  padGone: bytes(60),
  /**
   * The interrupt thread: number of the last request by which it has parked. Main sleeps on it in
   * the pause of an update.
   */
  parked: atomic32,
  padParked: bytes(60),
  /**
   * Any hart: the machine's clock, bigint. It is what mtime was, or would have been, when the clock
   * was started.
   */
  mtime: word64,
  /**
   * The owner of what is shared, while no hart runs: when the clock was started, float64
   * (CLOCK_MONOTONIC ns); 0: the clock stands.
   */
  since: word64,
  /**
   * The owner of what is shared, now and then, float64: instructions of all harts since the first
   * power-on, where time is counted by them.
   */
  icount: word64,
  pad2: bytes(40),
});

/** The words that each hart has. */
export const HartBlock = defineShared('hart control block', {
  /**
   * Main: what the hart's vCPU shall do, a requestWord; the vCPU turns a run into a stop. A stopped
   * vCPU sleeps on it.
   */
  request: atomic32,
  pad0: bytes(60),
  /** Any thread with news for a vCPU in WFI adds 1 and notifies; the vCPU sleeps on it. */
  wake: atomic32,
  /** The vCPU: 1 while it sleeps on `wake` by futex(2), where Atomics.notify reaches it not. */
  outside: atomic32,
  pad1: bytes(56),
  /**
   * mip. MSIP: any thread that stores to msip. MTIP: the vCPU, and any thread that stores to
   * mtimecmp or mtime. MEIP, SEIP: any thread that changes an interrupt file
   * (machine/hart-local/imsic-file.ts), or the owner's, where there is a PLIC. And ATTENTION, no
   * bit of mip: any thread that wants the hart's thread to leave its slice; that thread takes it
   * down.
   */
  lines: atomic32,
  pad2: bytes(60),
  /** The vCPU, now and then, float64: instructions retired, accesses outside RAM. */
  instructions: word64,
  exits: word64,
  pad3: bytes(48),
  /** Any hart: mtimecmp of the CLINT, bigint. The vCPU looks at it before each slice. */
  mtimecmp: word64,
  pad4: bytes(56),
  /** Which thread has the hart: see lease.ts, which says who writes when. */
  lease: atomic32,
  pad5: bytes(60),
});

/** In `lines`: the hart's run ends soon, although no interrupt is there for it. */
export const ATTENTION = 1 << 30;

/**
 * The hart whose vCPU owns what all harts share. Only that vCPU touches the devices of
 * vmm/machine/shared and saves them.
 */
export const OWNER_HART = 0;

/** Size of the buffer for this number of harts. */
export const controlBytes = (harts: number): number => MachineBlock.size + harts * HartBlock.size;

/** How many harts such a buffer is for. */
export const hartCount = (control: SharedPart): number => (control.size - MachineBlock.size) / HartBlock.size;

const offsetOf = (hart: number): number => MachineBlock.size + hart * HartBlock.size;

/** Where the words of a hart are, in an Int32Array over the whole buffer. */
export function hartWords(hart: number): Readonly<Record<'request' | 'wake' | 'outside' | 'lines' | 'lease', number>> {
  const at = offsetOf(hart) / 4;
  const { request, wake, outside, lines, lease } = HartBlock.word;
  return { request: at + request, wake: at + wake, outside: at + outside, lines: at + lines, lease: at + lease };
}

/**
 * Where the 64-bit words of a hart are, in a Float64Array or BigInt64Array over the whole buffer.
 */
export function hartWords64(hart: number): Readonly<Record<'instructions' | 'exits' | 'mtimecmp', number>> {
  const at = offsetOf(hart) / 8;
  const { instructions, exits, mtimecmp } = HartBlock.word64;
  return { instructions: at + instructions, exits: at + exits, mtimecmp: at + mtimecmp };
}

/**
 * What a request asks for. A request also has a running number, which tells its answer from the
 * answer to an earlier request.
 */
export const REQUEST_STOP = 0;
export const REQUEST_RUN = 1;
/** Take the state a power-on leaves and stop; main then fills RAM. */
export const REQUEST_RESET = 2;
/** Leave the loop, because the process ends. */
export const REQUEST_EXIT = 3;

export const requestWord = (number: number, what: number): number => (number << 2) | what;
const EXIT = requestWord(0, REQUEST_EXIT);
export const whatOf = (word: number): number => word & 3;
export const numberOf = (word: number): number => word >> 2;

/** The crew on duty. A thread that starts now belongs to it. */
export const crewOnDuty = (control: Int32Array): number => Atomics.load(control, MachineBlock.word.crew);

/**
 * The request in `word` as a thread of `crew` obeys it; EXIT once that crew has been relieved. The
 * crew was at rest then, and the next crew obeys the same words. A thread of the old crew that
 * reads the new request must also see the new crew number. So the crew is loaded last; main stores
 * it first.
 */
export function obeyed(control: Int32Array, word: number, crew: number): number {
  const request = Atomics.load(control, word); // pairs with the store in MachineThread.ask
  return crewOnDuty(control) === crew ? request : EXIT; // pairs with the add in relieveCrew
}
