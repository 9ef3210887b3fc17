/**
 * A guardian as the image sees it that starts it: for one update, or standing by all the time and
 * for the next update, too.
 */
import { einval } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import type { Versioned } from '../../../platform/section.ts';
import type { Vitals } from '../../crew/vitals.ts';
import { hartsOf } from '../../vm/vm-state.ts';
import { optionsIn } from '../decoded-state.ts';
import { encodeState, newStateFile } from '../state-file.ts';
import { RUN_WITHIN_MS } from './bounds.ts';
import type { GuardianState } from './guardian-link.ts';
import { isProgramOnDisk, PROGRAM } from './own-program.ts';
import { StandbyProcess } from './standby-process.ts';
import { watchedVitals } from './watched-vitals.ts';

/** A guardian ends at once when it is dismissed. */
const ENDING_MS = 5000;

/** A guest that runs here, or would run here if somebody else died. */
export interface Guarded {
  /** Its sections that do not change while it runs. */
  readonly steady: Readonly<Record<string, Versioned>>;
  /** Its vital signs here, for a guardian that can be told to stand by; null: for one update. */
  readonly nowFd: number | null;
}

export class Guardian {
  /** The file that the state will lie in. */
  readonly stateFd: number;
  readonly #vitals: Vitals;
  readonly #standby: StandbyProcess;
  #second: number | undefined;
  /** Called when `second` has changed. */
  onSecond: () => void = () => {};

  private constructor({ stateFd, vitals }: Files, standby: StandbyProcess) {
    this.stateFd = stateFd;
    this.#vitals = vitals;
    this.#standby = standby;
    void this.#hear();
  }

  /**
   * Starts it, and waits until it is ready; `snapshotFd` is a snapshot of this image's own program,
   * if there is one. EINVAL: the program of this image is not on disk any
   * more. EPROTO: it does not become ready. EMFILE.
   */
  static async start({ steady, nowFd }: Guarded, snapshotFd?: number): Promise<Guardian> {
    if (!isProgramOnDisk()) {
      throw einval(`${PROGRAM} is not the program that runs any more: nothing could take the guest back`);
    }
    const files = newFiles(hartsOf(optionsIn(new Map(Object.entries(steady)))));
    let standby: StandbyProcess | undefined;
    try {
      standby = StandbyProcess.start({ node: process.execPath, entry: PROGRAM, snapshotFd });
      await standby.equip(steady, {
        role: 'guardian',
        state: files.stateFd,
        vitals: files.vitals.fd,
        probationMs: 0, // the new image's matter
        now: nowFd,
      });
      return new Guardian(files, standby);
    } catch (error) {
      await standby?.dismiss();
      releaseFiles(files);
      throw error;
    }
  }

  get pid(): number {
    return this.#standby.pid;
  }

  /** The process that guards it in turn, if one is ready. */
  get second(): number | undefined {
    return this.#second;
  }

  async #hear(): Promise<void> {
    for (;;) {
      const word = await this.#standby.next();
      if (word === 'closed') return;
      if (word === 'late' || word.kind !== 'second') continue;
      this.#second = word.pid ?? undefined;
      this.onSecond();
    }
  }

  /** Resolves when its process has ended. */
  get ended(): Promise<unknown> {
    return this.#standby.ended;
  }

  /** The vital signs that the new image is to use. */
  get vitalsFd(): number {
    return this.#vitals.fd;
  }

  /** What the new image needs to know of it. EINVAL: it has died. */
  state(probationMs: number): GuardianState {
    const messages = this.#standby.messagesFd;
    if (messages === undefined) throw einval('the guardian has died');
    return { messages, pid: this.pid, probationMs };
  }

  /** It goes by these sections and fds from now on. EPIPE, EAGAIN, EPROTO: it does not listen. */
  learn(sections: Uint8Array, fds: readonly number[]): void {
    this.#standby.passMore(fds, { aheadHolds: false });
    this.#standby.sendNow({ kind: 'news', sections });
  }

  /**
   * From now on it takes the guest over whenever this process dies. Guardians took it over at these
   * times. Errors as `learn`.
   */
  stand(takeovers: readonly number[]): void {
    this.#standby.sendNow({ kind: 'stand', takeovers: [...takeovers] });
  }

  /** It takes the guest over if this process and that VMM are both dead. Errors as `learn`. */
  behind(vmm: { readonly vitals: number; readonly pidfd: number } | null): void {
    if (vmm) this.#standby.passMore(Object.values(vmm), { aheadHolds: false });
    this.#standby.sendNow({ kind: 'behind', vmm });
  }

  /**
   * The state lies in its file and names these fds: from now on the guardian watches. `kept` are
   * the sections that are not in the file.
   */
  watch(fds: readonly number[], kept: Readonly<Record<string, Versioned>>): void {
    this.#standby.passMore(fds, { aheadHolds: false });
    this.#standby.sendNow({ kind: 'watch', withinMs: RUN_WITHIN_MS, kept: encodeState(kept) });
  }

  /** It is not needed: it does nothing from now on, and ends. Resolves when it is gone. */
  async dismiss(): Promise<void> {
    await this.#standby.dismiss(ENDING_MS);
    releaseFiles({ stateFd: this.stateFd, vitals: this.#vitals });
  }
}

/** What the new image gets, and its guardian has. */
interface Files {
  readonly stateFd: number;
  readonly vitals: Vitals;
}

function newFiles(harts: number): Files {
  const stateFd = newStateFile();
  try {
    return { stateFd, vitals: watchedVitals(harts) };
  } catch (error) {
    close(stateFd);
    throw error;
  }
}

function releaseFiles({ stateFd, vitals }: Files): void {
  close(stateFd);
  vitals.release();
}
