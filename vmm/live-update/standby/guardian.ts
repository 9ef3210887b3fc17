/** The guardian of an exec update, as the old image starts it. */
import { einval } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import type { Vitals } from '../../crew/vitals.ts';
import type { Vm } from '../../vm/vm.ts';
import { newStateFile } from '../state-file.ts';
import { RUN_WITHIN_MS } from './bounds.ts';
import type { GuardianState } from './guardian-link.ts';
import { isProgramOnDisk, PROGRAM } from './own-program.ts';
import { StandbyProcess } from './standby-process.ts';
import { watchedVitals } from './watched-vitals.ts';

/** How an update is guarded. */
export interface Guarded {
  /** A snapshot of this image's own program, if there is one. */
  readonly snapshotFd: number | undefined;
  readonly probationMs: number;
}

export class Guardian {
  /** The file that the state will lie in. */
  readonly stateFd: number;
  readonly #vitals: Vitals;
  readonly #probationMs: number;
  readonly #standby: StandbyProcess;

  private constructor({ stateFd, vitals }: Files, probationMs: number, standby: StandbyProcess) {
    this.stateFd = stateFd;
    this.#vitals = vitals;
    this.#probationMs = probationMs;
    this.#standby = standby;
  }

  /**
   * Starts it, and waits until it is ready. EINVAL: the program of this image is not on disk any
   * more. EPROTO: it does not become ready. EMFILE.
   */
  static async start(vm: Vm, { snapshotFd, probationMs }: Guarded): Promise<Guardian> {
    if (!isProgramOnDisk()) {
      throw einval(`${PROGRAM} is not the program that runs any more: nothing could take the guest back`);
    }
    const files = newFiles();
    let standby: StandbyProcess | undefined;
    try {
      standby = StandbyProcess.start({ node: process.execPath, entry: PROGRAM, snapshotFd });
      const { stateFd: state, vitals } = files;
      await standby.equip(vm, { role: 'guardian', state, vitals: vitals.fd, probationMs });
      return new Guardian(files, probationMs, standby);
    } catch (error) {
      await standby?.dismiss();
      releaseFiles(files);
      throw error;
    }
  }

  /** The vital signs that the new image is to use. */
  get vitalsFd(): number {
    return this.#vitals.fd;
  }

  get messagesFd(): number {
    return this.state.messages;
  }

  /** The part that the new image needs to know. */
  get state(): GuardianState {
    const messages = this.#standby.messagesFd;
    if (messages === undefined) throw einval('the guardian has died');
    return { messages, pid: this.#standby.pid, probationMs: this.#probationMs };
  }

  /** The state lies in its file and names these fds: from now on the guardian watches. */
  watch(fds: readonly number[]): void {
    this.#standby.passMore(fds);
    this.#standby.sendNow({ kind: 'watch', withinMs: RUN_WITHIN_MS });
  }

  /** The update has failed before the execve. Resolves when the guardian is gone. */
  async dismiss(): Promise<void> {
    await this.#standby.dismiss();
    releaseFiles({ stateFd: this.stateFd, vitals: this.#vitals });
  }
}

/** What the new image gets, and its guardian has. */
interface Files {
  readonly stateFd: number;
  readonly vitals: Vitals;
}

function newFiles(): Files {
  const stateFd = newStateFile();
  try {
    return { stateFd, vitals: watchedVitals() };
  } catch (error) {
    close(stateFd);
    throw error;
  }
}

function releaseFiles({ stateFd, vitals }: Files): void {
  close(stateFd);
  vitals.release();
}
