/**
 * The names of a program's fds in its recording. Nobody tells of close(2) and dup(2), so before
 * each step the fds are compared with what they were.
 */
import { readFileSync } from 'node:fs';

import { objectKeyOf } from '../../../platform/process.ts';

/** Writes a step and its answer. */
export type Write = (step: string, answer: string) => void;

/** What is open behind fd `fd` of a process; undefined when nothing is. */
export type FileIdentity = (pid: number, fd: number) => string | undefined;

/** By its object; eventfds have all the same one, and a number of their own. */
export const identityOf: FileIdentity = (pid, fd) => {
  try {
    const eventfd = /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
    return eventfd ? `eventfd ${eventfd[1]}` : objectKeyOf(pid, fd);
  } catch {
    return undefined; // not open, or the process is gone
  }
};

export const fdName = (fd: number): string => `f${fd}`;

export class FdNames {
  readonly #pid: number;
  readonly #write: Write;
  readonly #identity: FileIdentity;
  readonly #known: Map<number, string>;

  constructor(pid: number, write: Write, identity: FileIdentity = identityOf, known?: ReadonlyMap<number, string>) {
    this.#pid = pid;
    this.#write = write;
    this.#identity = identity;
    this.#known = new Map(known);
  }

  /** Those of a process that has the same fds: a fork of this one. */
  copyFor(pid: number, write: Write): FdNames {
    return new FdNames(pid, write, this.#identity, this.#known);
  }

  /** Writes the closes of a process that has ended. */
  ends(): void {
    for (const fd of this.#known.keys()) this.#write(`close ${fdName(fd)}`, '0');
    this.#known.clear();
  }

  /** A call that is over has returned `fd`. */
  opened(fd: number): void {
    this.#known.set(fd, this.#identity(this.#pid, fd) ?? 'closed again');
  }

  /** Writes the closes since the last step. */
  closes(): void {
    for (const [fd, was] of this.#known) {
      if (this.#identity(this.#pid, fd) === was) continue;
      this.#known.delete(fd);
      this.#write(`close ${fdName(fd)}`, '0');
    }
  }

  /** The program has become another image: what is closed now was close-on-exec. */
  execs(): void {
    for (const [fd, was] of this.#known) {
      const stays = this.#identity(this.#pid, fd) === was;
      this.#write(`cloexec ${fdName(fd)} ${stays ? 0 : 1}`, '0');
      if (!stays) this.#known.delete(fd);
    }
  }

  /**
   * The word for a fd that a step is about to use. What has no name yet is a copy of something that
   * has one, an eventfd, or a file that VFIO does not know. A fd that is not open has a name that
   * means none.
   */
  word(fd: number): string {
    if (fd < 0) return `${fd}`;
    const identity = this.#identity(this.#pid, fd);
    if (this.#known.has(fd) || identity === undefined) return fdName(fd);
    const original = this.ofObject(identity);
    if (original !== undefined) this.#write(`dup ${fdName(original)} ${fdName(fd)}`, '0');
    else if (identity.startsWith('eventfd')) this.#write(`eventfd ${fdName(fd)}`, '0');
    else this.#write(`open ${fdName(fd)} /dev/null`, '0');
    this.#known.set(fd, identity);
    return fdName(fd);
  }

  /** A fd of the object with this key (objectKeyOf); undefined if none has a name. */
  ofObject(key: string): number | undefined {
    return [...this.#known].find(([, other]) => other === key)?.[0];
  }
}
