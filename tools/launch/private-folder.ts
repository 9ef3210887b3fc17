/**
 * A fresh folder for the sockets of one run. A small process (a few hundred kilobytes) removes the
 * folder if this process is killed: it waits for a line from us, or for the end of the pipe.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { temporaryDir } from './sockets.ts';

/**
 * The cleaner tries again, because another process of the run may be making a socket at that
 * moment.
 */
const CLEANER = 'read -r over || for i in 1 2 3 4 5; do rm -rf -- "$0" && exit; sleep 1; done';

export class PrivateFolder {
  readonly path = mkdtempSync(join(temporaryDir(), 'livevmm-'));
  readonly #cleaner: ChildProcess;
  readonly #cleanerEnded: Promise<unknown>;

  constructor() {
    // In a session of its own: what ends us by a signal to the terminal or the process group must
    // not end it.
    this.#cleaner = spawn('/bin/sh', ['-c', CLEANER, this.path], {
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#cleanerEnded = new Promise((resolve) => {
      this.#cleaner.once('exit', resolve);
      this.#cleaner.once('error', resolve); // there is none: the folder goes in order only
    });
    // it was killed; and where no fd was left for it, there is none
    this.#cleaner.stdin?.on('error', () => {});
    this.#cleaner.unref();
  }

  /** Removes the folder with its content. */
  async remove(): Promise<void> {
    rmSync(this.path, { recursive: true, force: true });
    this.#cleaner.ref();
    this.#cleaner.stdin?.end('over\n');
    await this.#cleanerEnded;
  }
}
