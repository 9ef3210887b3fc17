/**
 * A recording of a guest (`-icount rr=record`), or its replay (`rr=replay`). Where time is counted
 * by instructions, a guest runs in the same way each time but for what it hears from outside. Here
 * that is written down, with the moment, or comes out of the file again at the same moment.
 *
 * A guest hears of the outside in two ways. Devices look there between two rounds of turns
 * (`look`), and most find nothing: only news is an event. A replay that looks asks each device's
 * port whether the next event is its. And an access of the guest's own can ask for something: then
 * there is an event in any case (`needs`), or one for what is seldom (`takes`).
 *
 * A file may end where its VMM was killed. Each event was written before the guest saw it, so
 * nothing had come to the guest after the last one. Its replay goes on until it needs another.
 */
import { eio, type SysError } from '../../../../platform/errno.ts';
import { fd } from '../../../../platform/fd-shape.ts';
import { defineSection, type StateOf } from '../../../../platform/section.ts';
import { big, flag, integer, object, oneOf, type Shaped, text } from '../../../../platform/shape.ts';
import { BEGINNING, type EventKind, type Moment, type ReplayEvent } from './event.ts';
import { EventLog } from './log.ts';

/** An open file of events. It survives an update. */
export const RECORDING_DESCRIPTION = object({
  fd,
  path: text,
  mode: oneOf('record', 'replay'),
  /** Where its first event is. */
  start: integer,
});

export type RecordingDescription = Shaped<typeof RECORDING_DESCRIPTION>;

/** How far the guest has come in the file. */
export const REPLAY_SECTION = defineSection('replay', 1, {
  /** Instructions that its harts have begun since the first power-on. */
  instructions: integer,
  /** Where the next event lies, or goes to. */
  position: integer,
  /** The moment of the event before it. */
  before: object({ instructions: integer, ns: big }),
  /** The guest has ended its machine. */
  ended: flag,
});

export type ReplayState = StateOf<typeof REPLAY_SECTION>;

/** What the guest's time is. */
export interface CountedClock {
  instructions: number;
  readonly ns: bigint;
}

const NOTHING = new Uint8Array();
/** A machine for rehearsals has no file. */
export const NO_FILE = -1;

/** In words that follow "next in the recording is". */
const NAMES: Readonly<Record<EventKind, string>> = {
  check: 'a look at its registers',
  stop: 'the end of the VM',
  end: 'its end',
  reset: 'a reset from outside',
  pass: 'a wait in real time',
  input: 'console input',
  read: 'data for a virtio device',
  write: 'a virtio device that sends',
  answer: 'an answer of 9P',
  disk: 'data of a disk',
  'disk-error': 'an error of a disk',
  call: 'the result of a semihosting call',
};

/** So many instructions after an event there is another one, where a round of turns begins. */
export const CHECK_EVERY = 1 << 24;

/** The guest asks for something that is not in the recording any more. */
export class RecordingIsOver extends Error {}

export class Recording {
  readonly replays: boolean;
  readonly #is: RecordingDescription;
  readonly #clockOf: () => CountedClock;
  #log: EventLog;
  #looking = false;
  #ended = false;
  #divergence: SysError | undefined;
  #over = false;

  /** `clock` is asked for only when the machine is there. */
  constructor(is: RecordingDescription, clock: () => CountedClock) {
    this.#is = is;
    this.#clockOf = clock;
    this.replays = is.mode === 'replay';
    this.#log = new EventLog(is.fd, is.path, { position: is.start, before: BEGINNING });
  }

  /** The guest runs from here on: what a dead process has written after this does not count. */
  begin(): void {
    if (!this.replays && this.#is.fd !== NO_FILE) this.#log.cutOff();
  }

  /** Devices look at the world outside. */
  look(work: () => void): void {
    this.#looking = true;
    try {
      work();
    } finally {
      this.#looking = false;
    }
  }

  /** Whether devices look now; else the guest makes an access. */
  get looking(): boolean {
    return this.#looking;
  }

  get #clock(): CountedClock {
    return this.#clockOf();
  }

  get now(): Moment {
    const { instructions, ns } = this.#clock;
    return { instructions, ns };
  }

  /** Record: this comes now. Errors of write(2). */
  note(kind: EventKind, port = 0, bytes: Uint8Array = NOTHING): void {
    if (this.#is.fd === NO_FILE) return;
    this.#log.append({ kind, port, looking: this.#looking, at: this.now, bytes });
    this.#ended ||= kind === 'end';
  }

  /** Replay: the bytes of the next event, if that is this; undefined: it is another. */
  takes(kind: EventKind, port = 0): Uint8Array | undefined {
    const { head } = this;
    if (!head || !this.#isNow(head)) return undefined;
    if (head.kind !== kind || head.port !== port || head.looking !== this.#looking) return undefined;
    this.#log.next();
    return head.bytes;
  }

  /** Replay: as `takes`. EIO: the next event is another one. RecordingIsOver: there is none. */
  needs(kind: EventKind, port = 0): Uint8Array {
    if (this.head === undefined) throw new RecordingIsOver();
    const bytes = this.takes(kind, port);
    if (!bytes) throw this.diverged(`it asks for ${NAMES[kind]}`);
    return bytes;
  }

  /** Replay: the next event; undefined: there is none, or this is no replay. */
  get head(): ReplayEvent | undefined {
    return this.replays && this.#is.fd !== NO_FILE ? this.#log.head : undefined;
  }

  /** Replay: the next event, if it comes now. */
  get due(): ReplayEvent | undefined {
    const { head } = this;
    return head && this.#isNow(head) ? head : undefined;
  }

  /** Replay: the guest waits, and only what is in the recording ends that. EIO: nothing comes. */
  waits(): void {
    if (this.head === undefined) this.#over = true;
    else if (!this.due) throw this.diverged('it waits');
  }

  /** Replay: whether the guest must not go on. `looked`: a round of turns begins. */
  isOver({ looked }: { readonly looked: boolean }): boolean {
    this.#over ||= this.takes('stop') !== undefined;
    const sinceEvent = this.#clock.instructions - this.#log.before.instructions;
    this.#over ||= looked && this.head === undefined && sinceEvent >= CHECK_EVERY;
    return this.#over;
  }

  /** Whether the last event in the file is not whole. */
  get isCutOff(): boolean {
    return this.#log.isCutOff;
  }

  /**
   * How many instructions of `left` may be executed before the next event, at least 1: with that
   * one a guest that waits comes no further, and one that asks for something has asked.
   */
  bounded(left: number): number {
    const { head } = this;
    if (!head) return left;
    return Math.max(1, Math.min(left, head.at.instructions - this.#clock.instructions + (asks(head) ? 1 : 0)));
  }

  /** Replay, after the guest has run. EIO: an event has not come, or `diverged`. */
  checkPassed(): void {
    const { head } = this;
    if (this.#divergence) throw this.#divergence;
    if (!head) return;
    const { instructions, ns } = this.#clock;
    if (instructions > head.at.instructions || ns > head.at.ns) throw this.diverged('it has gone further');
  }

  /**
   * EIO: the guest does not run as it was recorded, but in the way that `how` says. A device may
   * make an error of its own of that; so `checkPassed` throws it, too.
   */
  diverged(how: string): SysError {
    const { head } = this;
    const next = head ? `${NAMES[head.kind]} at instruction ${head.at.instructions}` : 'nothing';
    this.#divergence ??= eio(
      `replay: ${this.#is.path}: the guest does not run as it was recorded: ` +
        `at instruction ${this.#clock.instructions} ${how}; next in the recording is ${next}`,
    );
    return this.#divergence;
  }

  save(): ReplayState {
    const { position, before } = this.#log;
    return REPLAY_SECTION.of({ instructions: this.#clock.instructions, position, before, ended: this.#ended });
  }

  restore({ instructions, position, before, ended }: ReplayState): void {
    this.#clock.instructions = instructions;
    this.#log = new EventLog(this.#is.fd, this.#is.path, { position, before });
    this.#ended = ended;
  }

  #isNow({ at }: ReplayEvent): boolean {
    return at.instructions === this.#clock.instructions && at.ns === this.#clock.ns;
  }
}

/** Whether an instruction of the guest asks for the event: it is counted when that is done. */
const asks = ({ kind, looking }: ReplayEvent): boolean =>
  !looking &&
  (kind === 'read' ||
    kind === 'write' ||
    kind === 'answer' ||
    kind === 'disk' ||
    kind === 'disk-error' ||
    kind === 'call');
