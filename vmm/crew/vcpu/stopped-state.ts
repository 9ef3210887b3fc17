/**
 * Where the vCPU thread leaves its machine's state when it has stopped: as packed sections, which
 * can go into a state file as they are. Main can sleep until they are there: in the pause of an
 * update the way of a message from thread to thread takes as long as all the rest. The message
 * comes all the same, after it.
 */
import { type PackedSections, packBodies, packSections, unpackSections } from '../../../platform/packed-sections.ts';
import {
  atomic32,
  bytes,
  defineShared,
  float64s,
  int32s,
  type SharedPart,
  uint8s,
  within,
  word64,
} from '../../../platform/shared.ts';
import type { MachineState } from '../../machine/machine.ts';
import { machineOfSections, sectionsOfMachine } from '../../machine/machine-sections.ts';
import { sleepUntil } from '../sleep-until.ts';
import type { StoppedMachine, Suspended } from './suspended.ts';

const Block = defineShared('stopped state', {
  /**
   * The vCPU: number of the request by which it has stopped last. Publishes all else. Main sleeps
   * on it.
   */
  stopped: atomic32,
  /** The vCPU, before that: the sections, and their bytes; 0: there is no room for them. */
  count: atomic32,
  length: atomic32,
  harts: atomic32,
  /** Suspended.atNs, float64. */
  atNs: word64,
  pad: bytes(40),
});

/** As much as the slot of a published state has (publication.ts). */
const STATE_BYTES = 256 << 10;

export const STOPPED_STATE_BYTES = Block.size + STATE_BYTES;

export class StoppedState {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #data: Uint8Array;

  constructor(part: SharedPart) {
    this.#words = int32s(part);
    this.#doubles = float64s(part);
    this.#data = uint8s(within(part, Block.size));
  }

  /** vCPU: it has stopped, by request `number`. False: the state has no room here. */
  put(number: number, { atNs, state }: Suspended): boolean {
    const { count, bytes } = packSections(packBodies(sectionsOfMachine(state)));
    const fits = bytes.length <= this.#data.length;
    if (fits) this.#data.set(bytes);
    this.#words[Block.word.count] = count;
    this.#words[Block.word.length] = fits ? bytes.length : 0;
    this.#words[Block.word.harts] = state.harts.length;
    this.#doubles[Block.word64.atNs] = atNs;
    Atomics.store(this.#words, Block.word.stopped, number); // after the state; pairs with the load in sleepUntil
    Atomics.notify(this.#words, Block.word.stopped);
    return fits;
  }

  /**
   * Main: sleeps until the vCPU has stopped by request `number`, at most so long. False: it has
   * not, or its state has no room here.
   */
  sleepUntil(number: number, withinMs: number): boolean {
    const there = sleepUntil({ words: this.#words, index: Block.word.stopped, value: number }, withinMs); // put notifies
    return there && this.#words[Block.word.length] !== 0;
  }

  /** Main: the state of a vCPU that has stopped, and has no other request yet. */
  take(): StoppedMachine {
    const words = this.#words;
    const sections = {
      count: words[Block.word.count]!,
      bytes: this.#data.slice(0, words[Block.word.length]!),
    };
    return new PackedMachine(this.#doubles[Block.word64.atNs]!, sections, words[Block.word.harts]!);
  }
}

/** Unpacked only when somebody asks for it: most states go to another process as they are. */
class PackedMachine implements StoppedMachine {
  readonly atNs: number;
  readonly packed: PackedSections;
  readonly #harts: number;
  #state: MachineState | undefined;

  constructor(atNs: number, packed: PackedSections, harts: number) {
    this.atNs = atNs;
    this.packed = packed;
    this.#harts = harts;
  }

  state(): MachineState {
    this.#state ??= machineOfSections(unpackSections(this.packed), this.#harts);
    return this.#state;
  }
}
