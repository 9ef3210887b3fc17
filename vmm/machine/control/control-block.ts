/**
 * The words by which the VMM's threads steer the harts and the machine, and see what they did: in
 * one buffer a MachineBlock, then a HartBlock for each hart. Fresh in every process: nothing here
 * survives.
 */
import { atomic32, bytes, defineShared, word64 } from '../../../platform/shared.ts';

/** What there is once. */
export const MachineBlock = defineShared('machine control block', {
  /**
   * Main: what the interrupt worker shall do, a requestWord; it sleeps on it while it is parked.
   */
  dispatch: atomic32,
  pad0: bytes(60),
  /** Main: whose requests these are; counts up when others take over. See `obeyed`. */
  crew: atomic32,
  pad1: bytes(60),
  /**
   * The machine's clock, bigint: what mtime was, or would have been, when it was started. Any hart
   * may set it.
   */
  mtime: word64,
  /**
   * float64: when the clock was started (CLOCK_MONOTONIC ns); 0: it stands. The owner of what is
   * shared changes it, while no hart runs.
   */
  since: word64,
  pad2: bytes(48),
});

/** What each hart has. */
export const HartBlock = defineShared('hart control block', {
  /**
   * Main: what the hart's vCPU shall do, a requestWord; the vCPU turns a run into a stop. It sleeps
   * on it while it is stopped.
   */
  request: atomic32,
  pad0: bytes(60),
  /** Whoever has news for a vCPU in WFI adds 1 and notifies; the vCPU sleeps on it. */
  wake: atomic32,
  pad1: bytes(60),
  /**
   * mip. MSIP: whoever stores to msip; MTIP: the vCPU, and whoever stores to mtimecmp or mtime;
   * MEIP: whoever changes the interrupt file (machine/hart-local/imsic.ts).
   */
  lines: atomic32,
  pad2: bytes(60),
  /** The vCPU, float64, now and then: instructions retired, accesses outside RAM. */
  instructions: word64,
  exits: word64,
  pad3: bytes(48),
  /**
   * bigint: mtimecmp of the CLINT. Any hart may store it; the vCPU looks at it before each slice.
   */
  mtimecmp: word64,
  pad4: bytes(56),
});

/**
 * The hart whose vCPU owns what all harts share: it alone touches the devices of
 * vmm/machine/shared, and saves them.
 */
export const OWNER_HART = 0;

/** Size of the buffer for so many harts. */
export const controlBytes = (harts: number): number => MachineBlock.size + harts * HartBlock.size;

/** How many harts such a buffer is for. */
export const hartCount = (control: SharedArrayBuffer): number =>
  (control.byteLength - MachineBlock.size) / HartBlock.size;

const offsetOf = (hart: number): number => MachineBlock.size + hart * HartBlock.size;

/** Where the words of a hart are, in an Int32Array over the whole buffer. */
export function hartWords(hart: number): Readonly<Record<'request' | 'wake' | 'lines', number>> {
  const at = offsetOf(hart) / 4;
  const { request, wake, lines } = HartBlock.word;
  return { request: at + request, wake: at + wake, lines: at + lines };
}

/** Where its 64-bit words are, in a Float64Array or BigInt64Array over the whole buffer. */
export function hartWords64(hart: number): Readonly<Record<'instructions' | 'exits' | 'mtimecmp', number>> {
  const at = offsetOf(hart) / 8;
  const { instructions, exits, mtimecmp } = HartBlock.word64;
  return { instructions: at + instructions, exits: at + exits, mtimecmp: at + mtimecmp };
}

/**
 * A request: a running number, so that an answer can be told from that to an earlier one, and what
 * to do.
 */
export const REQUEST_STOP = 0;
export const REQUEST_RUN = 1;
/** Take the state a power-on leaves and stop; main then fills RAM. */
export const REQUEST_RESET = 2;
/** Leave the loop: the process ends. */
export const REQUEST_EXIT = 3;

export const requestWord = (number: number, what: number): number => (number << 2) | what;
const EXIT = requestWord(0, REQUEST_EXIT);
export const whatOf = (word: number): number => word & 3;
export const numberOf = (word: number): number => word >> 2;

/** The crew on duty. Who is made now belongs to it. */
export const crewOnDuty = (control: Int32Array): number => Atomics.load(control, MachineBlock.word.crew);

/**
 * The request in `word` as one of `crew` obeys it: EXIT once that crew has been relieved. It was at
 * rest then, and the next one runs by the same words: who sees that request must see that it is not
 * for him. So the crew is loaded last; main stores it first.
 */
export function obeyed(control: Int32Array, word: number, crew: number): number {
  const request = Atomics.load(control, word); // pairs with the store in MachineThread.ask
  return crewOnDuty(control) === crew ? request : EXIT; // pairs with the add in relieveCrew
}

/**
 * Those who obey the words, and are at rest, are to leave. The request that must follow wakes them,
 * and is for the next crew.
 */
export function relieveCrew(control: Int32Array): void {
  Atomics.add(control, MachineBlock.word.crew, 1); // pairs with the load in obeyed
}

/**
 * Wakes the vCPU of a hart that waits in WFI: it looks at its lines, its request and, where it owns
 * it, the console again.
 */
export function wakeHart(control: Int32Array, hart: number): void {
  const { wake } = hartWords(hart);
  Atomics.add(control, wake, 1); // pairs with the load in vcpu/vcpu.ts
  Atomics.notify(control, wake);
}
