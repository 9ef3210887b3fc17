/**
 * The vCPU's part in publishing: while somebody wants it, the machine's state is published at the
 * end of each slice, and a journal keeps what the guest does in between. So another process can go
 * on from there whenever this one dies (recovery.ts). All harts are at home meanwhile: one thread
 * runs them in turn, and a slice is one hart's.
 *
 * The order of a slice: the guest runs, each entry of the journal before what it tells → its state
 * is published, which makes the entries void → output is written, console input gives up its room.
 * A slice ends right after an access outside RAM, so such an access is made again only if death
 * came between it and its publication.
 */
import { SysError } from '../../platform/errno.ts';
import { Journal } from '../machine/hart-local/journal.ts';
import type { Machine } from '../machine/machine.ts';
import { Publication } from './publication.ts';
import { encodePublished } from './published-vm.ts';
import type { VmShared } from './vm-shared.ts';

export class Publisher {
  readonly #machine: Machine;
  readonly #publication: Publication;
  readonly #journal: Journal;
  readonly #refused: (reason: string) => void;
  #on = false;
  /** The state that is published stays until the machine runs again. */
  #kept = false;
  /** The machine is in the state that this image was given. */
  #given = false;

  /** `refused` hears why the state cannot be published; the guest runs on without. */
  constructor(machine: Machine, shared: VmShared, refused: (reason: string) => void) {
    this.#machine = machine;
    this.#publication = new Publication(shared.publication);
    this.#journal = new Journal(shared.journal);
    this.#refused = refused;
  }

  /**
   * Whoever watches the VMM has the state that the machine has now: it need not be published before
   * the first slice.
   */
  stateIsGiven(): void {
    this.#given = true;
  }

  /** Whether states are being published, or are to be from the next slice on. */
  get wanted(): boolean {
    return this.#on || this.#publication.wanted;
  }

  /** Whether a hart has just made an access outside RAM, which ended its slice. */
  get accessed(): boolean {
    return this.#journal.accessed;
  }

  /**
   * Comes before each slice: begins or ends as is wanted. `fresh`: the machine did not run before
   * this slice, and its state is not the published one. `mayBegin`: `wanted` was true before, and
   * the caller knows.
   */
  beforeSlice(fresh: boolean, mayBegin = true): void {
    const wanted = this.#publication.wanted;
    this.#kept &&= !fresh;
    if (!wanted && (this.#on || this.#publication.published !== 0)) this.end();
    else if (wanted && !this.#on && mayBegin) this.#begin();
    else if (wanted && fresh) this.publish();
    if (fresh) this.#publication.begin();
  }

  /** Publishes the state of the machine between two slices. */
  publish(): void {
    if (this.#on && !this.#kept) this.#publish(false);
  }

  /**
   * As publish, of a machine at rest. Publishing begins if it is wanted: a guest that is paused
   * since it came here has not run, and nobody else knows its state.
   */
  publishAtRest(): void {
    this.#given = false;
    if (!this.#on && this.#publication.wanted) this.#begin();
    else this.publish();
  }

  /**
   * The guest has ended its machine. A state after that would not end it again, so the one before
   * stays.
   */
  guestHasEnded(): void {
    this.#kept = true;
  }

  /** The machine is about to be reset, and main then fills RAM. */
  machineIsReset(): void {
    this.#given = false;
    if (this.#on) this.#publish(true);
    this.#kept = true;
  }

  #publish(reset: boolean): void {
    const { harts, shared } = this.#machine;
    const state = encodePublished({
      reset,
      machine: this.#machine.save(),
      interruptFiles: harts.map(({ imsic }) => imsic.save()),
      inputTaken: shared.input.taken,
      outputSent: shared.output.sent,
    });
    try {
      this.#publication.publish(state);
      this.#journal.follow(this.#publication.published);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#publication.wanted = false;
      this.end();
      this.#refused(error.message);
    }
  }

  #begin(): void {
    this.#on = true;
    this.#journal.follow(this.#publication.published);
    for (const hart of this.#machine.harts) hart.journalTo(this.#journal);
    this.#machine.shared.output.hold(true);
    if (this.#given) {
      this.#publication.give();
      this.#journal.follow(this.#publication.published);
    } else {
      this.#publish(false);
    }
    this.#given = false;
  }

  /** No state holds any more; this comes before the guest does anything without the journal. */
  end(): void {
    this.#on = false;
    this.#publication.withdraw();
    for (const hart of this.#machine.harts) hart.journalTo(undefined);
    this.#machine.shared.output.hold(false);
  }
}
