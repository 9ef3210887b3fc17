/** A standby as the VMM that starts it sees it. */
import { spawn } from 'node:child_process';
import { getSystemErrorMap } from 'node:util';

import { eproto, errnoNumber, SysError } from '../../../platform/errno.ts';
import { close, setBlocking } from '../../../platform/libc/fd.ts';
import { sendFds } from '../../../platform/libc/pass-fd.ts';
import { connectUnixNow, socketPair } from '../../../platform/libc/unix-socket.ts';
import { nodeEnv } from '../../../platform/node-env.ts';
import type { Versioned } from '../../../platform/section.ts';
import type { Channels } from '../migration/channels.ts';
import { fromSnapshot, nodeOptions } from '../node-options.ts';
import { encodeState } from '../state-file.ts';
import { fdsOf } from '../survivors.ts';
import { limitTime } from '../time-limit.ts';
import { Link } from './link.ts';
import { connectedBy, type OtherProcess, startedBy } from './other-process.ts';
import { type Equip, type FromStandby, readFromStandby, type ToStandby } from './protocol.ts';
import { STANDBY } from './standby-option.ts';
import { withoutOwner } from './without-owner.ts';

/** A standby is ready in 0.3 s. On a busy machine it may wait long for a CPU. */
const READY = { ownMs: 20_000, allMs: 60_000 };
/** A standby ends at once when it is dismissed. */
const ENDING_MS = 20_000;
/** The numbers of its fds: the words, the passed fds, the snapshot. */
const [MESSAGES, FDS, SNAPSHOT] = [3, 4, 5];

/** What the VMM adds to that. */
export type Equipment = Omit<Equip, 'kind' | 'pid' | 'fds' | 'steady'>;

export interface StandbyProgram {
  readonly node: string;
  readonly entry: string;
  readonly snapshotFd: number | undefined;
}

export class StandbyProcess {
  readonly #process: OtherProcess;
  readonly #link: Link<FromStandby, ToStandby>;
  readonly #fdsSocket: number;
  readonly #passed = new Set<number>();
  /** Those that went ahead, and that `passMore` need not pass if they are still the same files. */
  #ahead: readonly number[] = [];
  readonly #hasOwner: boolean;
  #released = false;

  /** `hasOwner`: it is not we who have started it. */
  private constructor(process: OtherProcess, link: Link<FromStandby, ToStandby>, fdsSocket: number, hasOwner: boolean) {
    this.#hasOwner = hasOwner;
    this.#process = process;
    this.#link = link;
    this.#fdsSocket = fdsSocket;
  }

  /** Starts the program. The standby has our stdin, stdout and stderr. EMFILE. */
  static start({ node, entry, snapshotFd }: StandbyProgram): StandbyProcess {
    const [messages, theirMessages] = socketPair();
    const [fdsSocket, theirFds] = socketPair();
    const snapshot = snapshotFd === undefined ? [] : [snapshotFd];
    const start = snapshotFd === undefined ? [] : fromSnapshot(SNAPSHOT);
    const numbers = [MESSAGES, FDS, ...snapshot.map(() => SNAPSHOT)].map(String);
    const child = spawn(node, [...nodeOptions(), ...start, entry, STANDBY, ...numbers], {
      stdio: ['inherit', 'inherit', 'inherit', theirMessages, theirFds, ...snapshot],
      env: nodeEnv(),
    });
    close(theirMessages);
    close(theirFds);
    return new StandbyProcess(startedBy(child), new Link(messages, readFromStandby), fdsSocket, false);
  }

  /**
   * Connects to one that its user has started (`vmm --incoming`). Errors of connect(2), in QEMU's
   * words.
   */
  static connect({ main, cpr }: Channels): StandbyProcess {
    const messages = connectTo(main);
    try {
      const fdsSocket = connectTo(cpr);
      setBlocking(fdsSocket);
      const process = connectedBy(messages);
      return new StandbyProcess(process, new Link(messages, readFromStandby), fdsSocket, true);
    } catch (error) {
      close(messages);
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The fd of our end of the socket. */
  get messagesFd(): number | undefined {
    return this.#link.fd;
  }

  /**
   * Gives the standby all that does not change while the guest runs (saveSteady), and waits until
   * it is ready.
   * EPROTO says why it is not.
   */
  async equip(all: Readonly<Record<string, Versioned>>, what: Equipment): Promise<void> {
    const sections = this.#hasOwner ? withoutOwner(all) : all;
    const fds = [
      ...new Set([
        ...Object.values(fdsOf(sections)),
        what.state,
        what.vitals,
        ...(what.now === null ? [] : [what.now]),
      ]),
    ];
    this.#link.send({ kind: 'equip', ...what, pid: process.pid, fds, steady: encodeState(sections) });
    this.#pass(fds);
    try {
      await this.#ready();
    } catch (error) {
      throw eproto(`the ${what.role} is not ready: ${(error as SysError).message}`);
    }
  }

  /** EPROTO: it has ended, says something else, or has had its time. */
  async #ready(): Promise<void> {
    let over: (() => void) | undefined;
    const late = new Promise<never>((_, reject) => {
      const seconds = READY.ownMs / 1000;
      over = limitTime(this.pid, READY, () => reject(eproto(`it says nothing for ${seconds} s`)));
    });
    try {
      await Promise.race([this.#link.expect('ready', READY.allMs), late]);
    } finally {
      over?.();
    }
  }

  /** Passes fds that the state will name, before the guest is stopped. */
  passAhead(fds: readonly number[]): void {
    this.passMore(fds, { aheadHolds: false });
    this.#ahead = fds;
  }

  /**
   * Passes the fds that a state names and that the standby does not have. `aheadHolds`: the numbers
   * that went ahead are still those files'. EPIPE, EAGAIN, EPROTO.
   */
  passMore(fds: readonly number[], { aheadHolds }: { readonly aheadHolds: boolean }): void {
    // all that came later is sent anew: a number may be another file's now
    const known = new Set([...this.#passed, ...(aheadHolds ? this.#ahead : [])]);
    const more = [...new Set(fds)].filter((fd) => !known.has(fd));
    if (more.length === 0) return;
    this.#link.sendNow({ kind: 'more', fds: more });
    sendFds(this.#fdsSocket, more);
  }

  /** The message is in the kernel when this returns. EPIPE, EAGAIN, EPROTO. */
  sendNow(message: ToStandby): void {
    this.#link.sendNow(message);
  }

  next(ms?: number): Promise<FromStandby | 'closed' | 'late'> {
    return this.#link.next(ms);
  }

  /** Resolves when it has ended. */
  get ended(): Promise<unknown> {
    return this.#process.ended;
  }

  /** Dismisses it; resolves when it is gone. It is killed when it takes longer than this. */
  async dismiss(withinMs = ENDING_MS): Promise<void> {
    this.#link.send({ kind: 'over' });
    const late = setTimeout(() => this.#process.kill(), withinMs);
    await this.#gone();
    clearTimeout(late);
  }

  /** Kills it; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#process.kill();
    await this.#gone();
  }

  /** Lets it go: it has the guest. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#link.close();
    close(this.#fdsSocket);
    this.#process.release();
  }

  async #gone(): Promise<void> {
    await this.#process.ended;
    this.release();
  }

  #pass(fds: readonly number[]): void {
    try {
      sendFds(this.#fdsSocket, fds);
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== 'EPIPE') throw error; // it says itself why it has ended
    }
    for (const fd of fds) this.#passed.add(fd);
  }
}

function connectTo(path: string): number {
  try {
    return connectUnixNow(path);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const [, reason = error.code] = getSystemErrorMap().get(-errnoNumber(error.code)) ?? [];
    const sentence = reason.charAt(0).toUpperCase() + reason.slice(1);
    throw new SysError(error.code, `Failed to connect to '${path}': ${sentence}`);
  }
}
