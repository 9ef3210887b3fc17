/**
 * Turns where time is counted by instructions (`-icount`): the harts run one after the other, each
 * for the same number of instructions or until it waits. Nothing here depends on real time except
 * when the outside world is heard, at the beginning of a round. So a guest that hears nothing from
 * there runs in the same way each time, whoever executes it, and however often it stops.
 *
 * While all harts wait, time jumps to what comes next, or real time passes. When real time has come
 * that far, guest time is exactly what it would have jumped to. Real time that passes is an event
 * of a recording, and a replay takes it from there.
 */
import type { StopReason } from '../../../guest/riscv/engine.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { takeAttention } from '../../machine/control/lease.ts';
import type { HartLocal } from '../../machine/hart-local/hart-local.ts';
import type { Icount } from '../../machine/shared/icount.ts';
import { leb128, readLeb128 } from '../../machine/shared/replay/event.ts';
import type { Recording } from '../../machine/shared/replay/recording.ts';
import type { Slice, Turns } from './turns.ts';

export interface CountedTurnsOptions {
  readonly harts: readonly HartLocal[];
  readonly icount: Icount;
  readonly control: Int32Array;
  readonly recording?: Recording | undefined;
  /** Real time, ns. */
  readonly now?: () => number;
}

export class CountedTurns implements Turns {
  readonly #harts: readonly HartLocal[];
  readonly #icount: Icount;
  readonly #control: Int32Array;
  readonly #recording: Recording | undefined;
  readonly #now: () => number;
  /** How many harts wait since one of them has executed anything last. */
  #waiting = 0;
  #executed = 0;
  /** Since when real time passes, ns. */
  #since: number | undefined;
  /** Replay: all harts wait, so real time may have passed here. */
  #mayHavePassed = false;

  constructor({ harts, icount, control, recording, now = monotonicNs }: CountedTurnsOptions) {
    this.#harts = harts;
    this.#icount = icount;
    this.#control = control;
    this.#recording = recording;
    this.#now = now;
  }

  get someWait(): boolean {
    return this.#waiting > 0;
  }

  next(): Slice {
    this.#pass();
    const { hart, left, turn, roundBegins } = this.#icount;
    takeAttention(this.#control, hart); // that of the owner's hart has been taken
    // What a hart has cached must not tell when others have written.
    if (this.#harts.length > 1 && left === turn) this.#harts[hart]!.engine.fence();
    return { hart: this.#harts[hart]!, instructions: this.#recording?.bounded(left) ?? left, looks: roundBegins };
  }

  run({ hart: { engine }, instructions }: Slice): StopReason {
    const { clock } = this.#icount;
    clock.begin(engine);
    const reason = engine.run(instructions);
    this.#executed = clock.end();
    this.#icount.left -= this.#executed;
    return reason;
  }

  ended(reason: StopReason): boolean {
    const icount = this.#icount;
    // what it executed may have been for others that wait
    if (reason !== 'wfi' || this.#executed > 0) this.#waiting = 0;
    if (reason === 'wfi') this.#waiting++;
    if (reason === 'wfi' || icount.left <= 0) icount.goTo((icount.hart + 1) % this.#harts.length);
    if (this.#waiting < this.#harts.length) return false;
    this.#waiting = 0;
    icount.goTo(0);
    return true;
  }

  jump(): boolean {
    const ns = this.#icount.sleep ? undefined : this.#nsLeft();
    if (ns === undefined) return this.#recording?.replays ? this.#jumpAsRecorded(this.#recording) : false;
    this.#icount.clock.advance(ns);
    return true;
  }

  /** Something has come from outside here, or real time has passed; or the recording is over. */
  #jumpAsRecorded(recording: Recording): boolean {
    recording.waits();
    this.#mayHavePassed = true;
    return true;
  }

  waits(): void {
    if (this.#icount.sleep) this.#since = this.#now();
  }

  dueMs(): number | undefined {
    const ns = this.#icount.sleep ? this.#nsLeft() : undefined;
    return ns === undefined ? undefined : ns / 1e6;
  }

  rest(): void {
    this.#pass();
    this.#waiting = 0;
  }

  /** Real time has passed, and guest time with it: as far as nothing has come. */
  #pass(): void {
    if (this.#mayHavePassed) this.#passAsRecorded();
    if (this.#since === undefined) return;
    const passed = this.#now() - this.#since;
    this.#since = undefined;
    const ns = Math.floor(Math.min(passed, this.#nsLeft() ?? passed));
    if (ns > 0) this.#recording?.note('pass', 0, Uint8Array.from(leb128(BigInt(ns))));
    this.#icount.clock.advance(ns);
  }

  #passAsRecorded(): void {
    this.#mayHavePassed = false;
    const passed = this.#recording?.takes('pass');
    if (passed) this.#icount.clock.advance(Number(readLeb128(passed, 0)?.value ?? 0n));
  }

  #nsLeft(): number | undefined {
    let least = this.#icount.nsUntil(undefined);
    for (const hart of this.#harts) {
      const ns = this.#icount.nsUntil(hart.next());
      if (ns !== undefined && (least === undefined || ns < least)) least = ns;
    }
    return least;
  }
}
