/**
 * The names of a process's fds in its recording. Nobody tells of close(2) and dup(2), so before
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

/** What the names of one process's fds need to know. */
export interface FdSource {
  readonly pid: number;
  readonly write: Write;
  readonly identity: FileIdentity;
  /** Writes that another process passes a file to fd `fd` of this one. False: none has it. */
  readonly receives: (fd: number, identity: string) => boolean;
}

export class FdNames {
  readonly #source: FdSource;
  readonly #known: Map<number, string>;

  /** `known`: fds that have names already. */
  constructor(source: FdSource, known?: ReadonlyMap<number, string>) {
    this.#source = source;
    this.#known = new Map(known);
  }

  /** Those of a process that has the same fds: a fork of this one. */
  copyFor(source: FdSource): FdNames {
    return new FdNames(source, this.#known);
  }

  /** Writes the closes of a process that has ended. */
  ends(): void {
    for (const fd of this.#known.keys()) this.#source.write(`close ${fdName(fd)}`, '0');
    this.#known.clear();
  }

  #identity(fd: number): string | undefined {
    return this.#source.identity(this.#source.pid, fd);
  }

  has(fd: number): boolean {
    return this.#known.has(fd);
  }

  /** A call that is over has returned `fd`. */
  opened(fd: number): void {
    this.#known.set(fd, this.#identity(fd) ?? 'closed again');
  }

  /** Fds with names that are no longer what they were, with what that was. */
  lost(): [fd: number, identity: string][] {
    return [...this.#known].filter(([fd, was]) => this.#identity(fd) !== was);
  }

  /** Writes the closes since the last step. */
  closes(): void {
    for (const [fd] of this.lost()) {
      this.#known.delete(fd);
      this.#source.write(`close ${fdName(fd)}`, '0');
    }
  }

  /** The program has become another image: what is closed now was close-on-exec. */
  execs(): void {
    for (const [fd, was] of this.#known) {
      const stays = this.#identity(fd) === was;
      this.#source.write(`cloexec ${fdName(fd)} ${stays ? 0 : 1}`, '0');
      if (!stays) this.#known.delete(fd);
    }
  }

  /**
   * The word for a fd that a step is about to use. What has no name yet is a copy of something that
   * has one, here or in another process, an eventfd, or a file that VFIO does not know. A fd that
   * is not open has a name that means none.
   */
  word(fd: number): string {
    if (fd < 0) return `${fd}`;
    const identity = this.#identity(fd);
    if (this.#known.has(fd) || identity === undefined) return fdName(fd);
    const { write, receives } = this.#source;
    const original = this.ofObject(identity);
    if (original !== undefined) write(`dup ${fdName(original)} ${fdName(fd)}`, '0');
    else if (!receives(fd, identity)) {
      write(identity.startsWith('eventfd') ? `eventfd ${fdName(fd)}` : `open ${fdName(fd)} /dev/null`, '0');
    }
    this.#known.set(fd, identity);
    return fdName(fd);
  }

  /** A fd of the object with this key (objectKeyOf); undefined if none has a name. */
  ofObject(key: string): number | undefined {
    return [...this.#known].find(([, other]) => other === key)?.[0];
  }
}
