/**
 * A vCPU's part in a recording or a replay: what is no matter of a device. Where instructions are
 * counted, harts have the same registers at the beginning of each round of turns, so a recording
 * has a sum of them now and then. A replay that finds another one ends.
 */
import { crc32 } from 'node:zlib';

import { createHash } from '../../../platform/hash.ts';
import { pack } from '../../../platform/msgpack.ts';
import type { SharedPart } from '../../../platform/shared.ts';
import type { HartLocal } from '../../machine/hart-local/hart-local.ts';
import { CHECK_EVERY, type Recording } from '../../machine/shared/replay/recording.ts';

/** What comes next in a replay, before the guest runs on. */
export type Due =
  | 'reset'
  /** What was recorded ends here. */
  | 'over'
  /** Devices have not looked outside as often as in the recording. */
  | 'look';

export class RecordedRun {
  readonly #recording: Recording;
  readonly #harts: readonly HartLocal[];
  readonly #ram: SharedPart;
  /** Instructions at the last look at the registers. */
  #checked = 0;
  /** Where in the recording a replay was when it looked outside once more. */
  #lookedAt = -1;

  constructor(recording: Recording, harts: readonly HartLocal[], ram: SharedPart) {
    this.#recording = recording;
    this.#harts = harts;
    this.#ram = ram;
  }

  /** A round of turns begins, and devices have looked outside: `check` events. EIO: diverged. */
  look(): void {
    const recording = this.#recording;
    if (!recording.replays) {
      const { instructions } = recording.now;
      if (instructions - this.#checked < CHECK_EVERY) return;
      this.#checked = instructions;
      recording.note('check', 0, this.#registers());
      return;
    }
    const recorded = recording.takes('check');
    if (recorded && Buffer.compare(recorded, this.#registers()) !== 0) {
      throw recording.diverged('its registers have other values');
    }
  }

  /** What a replay has to do before the guest runs on; `looked`: devices have just looked. */
  due({ looked }: { readonly looked: boolean }): Due | undefined {
    const recording = this.#recording;
    if (!recording.replays) return undefined;
    if (recording.isOver({ looked })) return 'over';
    const { due } = recording;
    if (due?.kind === 'reset') return 'reset';
    return looked && (due?.looking || due?.kind === 'check') ? 'look' : undefined;
  }

  /** A replay looks outside once more. EIO: it has done so, and the next event has not come. */
  goesOn(): void {
    const { position } = this.#recording.save();
    if (position === this.#lookedAt) throw this.#recording.diverged('it does not take what comes from outside');
    this.#lookedAt = position;
  }

  /** The machine has been reset from outside. A power-on is none. A replay takes the event. */
  reset(): void {
    if (this.#recording.replays) this.#recording.takes('reset');
    else if (this.#recording.now.instructions > 0) this.#recording.note('reset');
  }

  get replays(): boolean {
    return this.#recording.replays;
  }

  /**
   * How many instructions the guest has had, and whether the last event of its file is not whole.
   */
  get over(): { readonly instructions: number; readonly isCutOff: boolean } {
    return { instructions: this.#recording.now.instructions, isCutOff: this.#recording.isCutOff };
  }

  /** The guest has run. EIO: diverged. */
  ran(): void {
    this.#recording.checkPassed();
  }

  /** The guest has ended its machine. EIO: not as it was recorded. */
  end(status: number): void {
    const recording = this.#recording;
    const end = pack({ status, registers: this.#registers(), ram: this.#hashRam() });
    if (!recording.replays) {
      recording.note('end', 0, end);
      return;
    }
    const recorded = recording.takes('end');
    if (!recorded) throw recording.diverged('it ends its machine');
    if (Buffer.compare(recorded, end) !== 0) throw recording.diverged('it ends with another status, registers or RAM');
  }

  /** Whether a hart waits is left out: it may know of its interrupt, or not yet. */
  #registers(): Uint8Array {
    const harts = this.#harts.map(({ engine }) => ({ ...engine.save(), waiting: false }));
    const crc = Buffer.alloc(4);
    crc.writeUInt32LE(crc32(pack(harts)));
    return crc;
  }

  #hashRam(): Uint8Array {
    const { buffer, offset, size } = this.#ram;
    return createHash('sha256')
      .update(new Uint8Array(buffer, offset, size))
      .digest();
  }
}
