/** The guardian of an exec update, as the old image starts it. */
import { statSync } from 'node:fs';

import { einval } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import type { Vitals } from '../../crew/vitals.ts';
import type { Vm } from '../../vm/vm.ts';
import { newStateFile } from '../state-file.ts';
import type { GuardianState } from './guardian-link.ts';
import { StandbyProcess } from './standby-process.ts';
import { watchedVitals } from './watched-vitals.ts';

/**
 * The time in which the guest must run in the new image. It takes 0.1 s, and on a busy machine
 * 2 s. A device's ring must hold what comes meanwhile: the demo guest's holds 8 s.
 */
const BOOT_MS = 5000;

/** How an update is guarded. */
export interface Guarded {
  /** A snapshot of this image's own program, if there is one. */
  readonly snapshotFd: number | undefined;
  readonly probationMs: number;
}

/** What tells two files at one path apart. */
const identity = (path: string): string => {
  const { dev, ino, size, mtimeMs } = statSync(path);
  return [dev, ino, size, mtimeMs].join(' ');
};

const entry = process.argv[1]!;
const begunWith = identity(entry);

export class Guardian {
  /** The file that the state will lie in. */
  readonly stateFd: number;
  readonly #vitals: Vitals;
  readonly #probationMs: number;
  readonly #standby: StandbyProcess;

  private constructor(standby: StandbyProcess, probationMs: number) {
    this.#standby = standby;
    this.#probationMs = probationMs;
    this.stateFd = newStateFile();
    this.#vitals = watchedVitals();
  }

  /**
   * Starts it, and waits until it is ready. EINVAL: the program of this image is not on disk any
   * more. EPROTO: it does not become ready. EMFILE.
   */
  static async start(vm: Vm, { snapshotFd, probationMs }: Guarded): Promise<Guardian> {
    if (identity(entry) !== begunWith) {
      throw einval(`${entry} is not the program that runs any more: nothing could take the guest back`);
    }
    const standby = StandbyProcess.start({ node: process.execPath, entry, snapshotFd });
    const guardian = new Guardian(standby, probationMs);
    try {
      const { stateFd: state, vitalsFd: vitals } = guardian;
      await standby.equip(vm, { role: 'guardian', state, vitals, probationMs, always: false });
      return guardian;
    } catch (error) {
      await guardian.dismiss();
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
    this.#standby.sendNow({ kind: 'watch', withinMs: BOOT_MS });
  }

  /** The update has failed before the execve. Resolves when the guardian is gone. */
  async dismiss(): Promise<void> {
    await this.#standby.dismiss();
    close(this.stateFd);
    this.#vitals.release();
  }
}
