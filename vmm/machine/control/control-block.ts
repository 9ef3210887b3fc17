/** The words by which the VMM's threads steer the vCPU and see what it did. Fresh in every process: nothing here survives. */
import { atomic32, bytes, defineShared, word64 } from '../../../platform/shared.ts';

export const ControlBlock = defineShared('vm control block', {
  /** Main: what the vCPU shall do, a requestWord; the vCPU turns a run into a stop. It sleeps on it while it is stopped. */
  request: atomic32,
  pad0: bytes(60),
  /** Main: what the interrupt worker shall do, a requestWord; it sleeps on it while it is parked. */
  dispatch: atomic32,
  pad1: bytes(60),
  /** Whoever has news for a vCPU in WFI adds 1 and notifies; the vCPU sleeps on it. */
  wake: atomic32,
  pad2: bytes(60),
  /** mip of hart 0. MTIP, MSIP: the vCPU; MEIP: whoever changes the interrupt file (machine/hart-local/imsic.ts). */
  lines: atomic32,
  pad3: bytes(60),
  /** The vCPU, float64, now and then: instructions retired, accesses outside RAM. */
  instructions: word64,
  exits: word64,
  pad4: bytes(48),
  /** Main: whose requests these are; counts up when others take over. See `obeyed`. */
  crew: atomic32,
  pad5: bytes(60),
});

/**
 * A request: a running number, so that an answer can be told from that to an earlier one, and what to do.
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
export const crewOnDuty = (control: Int32Array): number => Atomics.load(control, ControlBlock.word.crew);

/**
 * The request in `word` as one of `crew` obeys it: EXIT once that crew has been relieved. It was at rest then, and the next one runs by
 * the same words: who sees that request must see that it is not for him. So the crew is loaded last; main stores it first.
 */
export function obeyed(control: Int32Array, word: number, crew: number): number {
  const request = Atomics.load(control, word); // pairs with the store in MachineThread.ask
  return crewOnDuty(control) === crew ? request : EXIT; // pairs with the add in relieveCrew
}

/** Those who obey the words, and are at rest, are to leave. The request that must follow wakes them, and is for the next crew. */
export function relieveCrew(control: Int32Array): void {
  Atomics.add(control, ControlBlock.word.crew, 1); // pairs with the load in obeyed
}

/** Wakes a vCPU that waits in WFI: it looks at its lines, its request and its console again. */
export function wakeVcpu(control: Int32Array): void {
  Atomics.add(control, ControlBlock.word.wake, 1); // pairs with the load in vcpu/vcpu.ts
  Atomics.notify(control, ControlBlock.word.wake);
}
