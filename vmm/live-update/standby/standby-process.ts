/** A standby as the VMM that starts it sees it. */
import { type ChildProcess, spawn } from 'node:child_process';

import { eproto, SysError } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { sendFds } from '../../../platform/libc/pass-fd.ts';
import { socketPair } from '../../../platform/libc/unix-socket.ts';
import type { Vm } from '../../vm/vm.ts';
import { fromSnapshot, nodeOptions } from '../node-options.ts';
import { encodeState } from '../state-file.ts';
import { successorEnv } from '../successor-env.ts';
import { fdsOf, saveSteady } from '../survivors.ts';
import { Link } from './link.ts';
import { type Equip, type FromStandby, readFromStandby, type ToStandby } from './protocol.ts';
import { STANDBY } from './standby-option.ts';

/** A standby is ready in 0.3 s. It takes several seconds on a busy machine. */
const READY_MS = 20_000;
/** The numbers of its fds: the words, the passed fds, the snapshot. */
const [MESSAGES, FDS, SNAPSHOT] = [3, 4, 5];

export interface StandbyProgram {
  readonly node: string;
  readonly entry: string;
  readonly snapshotFd: number | undefined;
}

export class StandbyProcess {
  readonly #child: ChildProcess;
  readonly #link: Link<FromStandby, ToStandby>;
  readonly #fdsSocket: number;
  readonly #passed = new Set<number>();
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, link: Link<FromStandby, ToStandby>, fdsSocket: number) {
    this.#child = child;
    this.#link = link;
    this.#fdsSocket = fdsSocket;
    this.#ended = new Promise((resolve) => {
      child.once('exit', resolve);
      child.once('error', resolve);
    });
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
      env: successorEnv(),
    });
    close(theirMessages);
    close(theirFds);
    return new StandbyProcess(child, new Link(messages, readFromStandby), fdsSocket);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The fd of our end of the socket. */
  get messagesFd(): number | undefined {
    return this.#link.fd;
  }

  /**
   * Gives the standby all that does not change while the guest runs, and waits until it is ready.
   * EPROTO says why it is not.
   */
  async equip(vm: Vm, what: Pick<Equip, 'role' | 'state' | 'vitals' | 'probationMs' | 'always'>): Promise<void> {
    const sections = saveSteady(vm);
    const fds = [...new Set([...Object.values(fdsOf(sections)), what.state, what.vitals])];
    this.#link.send({ kind: 'equip', ...what, pid: process.pid, fds, steady: encodeState(sections) });
    this.#pass(fds);
    try {
      await this.#link.expect('ready', READY_MS);
    } catch (error) {
      throw eproto(`the ${what.role} is not ready: ${(error as SysError).message}`);
    }
  }

  /** Passes the fds that a state names and that the standby does not have. */
  passMore(fds: readonly number[]): void {
    // all that came later is sent anew: a number may be another file's now
    const more = [...new Set(fds)].filter((fd) => !this.#passed.has(fd));
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

  /** Dismisses it; resolves when it is gone. */
  async dismiss(): Promise<void> {
    this.#link.send({ kind: 'over' });
    const late = setTimeout(() => this.#child.kill('SIGKILL'), READY_MS);
    await this.#gone();
    clearTimeout(late);
  }

  /** Kills it; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone();
  }

  async #gone(): Promise<void> {
    await this.#ended;
    this.#link.close();
    close(this.#fdsSocket);
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
