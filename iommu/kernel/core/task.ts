/**
 * The callers of system calls: the tasks, processes and address spaces (mm) behind the clients'
 * channels, as a real kernel sees them.
 */

import { existsSync } from 'node:fs';
import { eacces, esrch, SysError } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { pidfdGetfd, pidfdOpen } from '../../../platform/libc/other-process.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { AddressSpace } from '../../../platform/process.ts';
import { hasIpcLockWhereItIs, isInOurUserNamespace, memlockLimit } from '../../../platform/process-rights.ts';
import type { Memlock } from '../../abi/control.ts';

/** A value cached for one system call. Outside a call it is asked for anew each time. */
interface Answer<T> {
  value?: T;
}

function asked<T>(answer: Answer<T> | undefined, ask: () => T): T {
  if (!answer) return ask();
  answer.value ??= ask();
  return answer.value;
}

/**
 * An address space. It outlives its users (exit, exec) for as long as something holds it (mmgrab).
 * It is then only a name.
 */
export class Mm {
  readonly space: AddressSpace;
  /**
   * Pages charged against RLIMIT_MEMLOCK by mappings: their part of mm->locked_vm (ACC-3, ACC-6).
   */
  lockedVm = 0;
  #holders = 1;
  #dead = false;
  /** The mlockedPages between enter() and leave(), once they were asked for. */
  #mlocked: Answer<number> | undefined;

  constructor(space: AddressSpace) {
    this.space = space;
  }

  /** mmget_not_zero: false after exit or exec of its process. */
  alive(): boolean {
    this.#dead ||= !this.space.alive(); // it does not come back
    return !this.#dead;
  }

  /** mm->locked_vm, which mlock(2) counts in as well. */
  lockedTotal(): number {
    return this.lockedVm + asked(this.#mlocked, () => this.space.mlockedPages());
  }

  /** A task of this mm begins a system call; see ChannelTask. */
  enter(): void {
    this.#mlocked = {};
    this.space.remember(true);
  }

  leave(): void {
    this.#mlocked = undefined;
    this.space.remember(false);
  }

  /** mmgrab: a caller that keeps an Mm beyond the current call holds it, and drops it later. */
  grab(): this {
    this.#holders++;
    return this;
  }

  /** mmdrop: the last holder closes the view of the address space. */
  drop(): void {
    if (--this.#holders === 0) this.space.close();
  }
}

/** A thread group. It keeps its identity over an exec by its leader, which gives it a new mm. */
export class Process {
  readonly pid: number;
  /** Refers to this very process even if its pid is used again. */
  readonly pidfd: number;
  #mm: Mm;
  #closed = false;
  /** The thread that is in execve(2). */
  #execBy: number | undefined;

  constructor(pid: number) {
    this.pid = pid;
    this.pidfd = pidfdOpen(pid);
    try {
      this.#mm = new Mm(new AddressSpace(pid));
    } catch (error) {
      close(this.pidfd);
      throw error;
    }
  }

  /** The address space that was found last, dead or alive. */
  get mm(): Mm {
    return this.#mm;
  }

  /**
   * The address space that the process had when its last channel began, or has now if that one is
   * dead. It stays when the process is exiting or gone.
   */
  currentMm(): Mm {
    return this.#mm.alive() ? this.#mm : (this.mmNow() ?? this.#mm);
  }

  /**
   * The address space that the process has now. After an execve it is another one, even if somebody
   * else keeps the old one alive. Undefined when the process is exiting or gone, and when the host
   * may not look into its new image.
   */
  mmNow(): Mm | undefined {
    if (this.#mm.space.isCurrent()) return this.#mm;
    const space = this.exited() ? undefined : spaceOf(this.pid);
    if (!space) return undefined;
    this.#mm.drop();
    this.#mm = new Mm(space);
    return this.#mm;
  }

  /** A thread of the process has entered the kernel, maybe for an execve(2). */
  entered(tid: number, exec: boolean): void {
    if (exec) this.#execBy = tid;
    else if (this.#execBy === tid) this.#execBy = undefined; // it has failed
  }

  /**
   * Whether the leader is dead, the task that a mapping has recorded. It is dead after an exec by
   * another thread, though the pid lives on (ACC-7).
   */
  exited(): boolean {
    return this.#closed || this.#leaderReplaced() || poll([{ fd: this.pidfd, events: POLLIN }], 0) !== undefined;
  }

  #leaderReplaced(): boolean {
    return this.#execBy !== undefined && this.#execBy !== this.pid && !this.#mm.space.isCurrent();
  }

  /**
   * A duplicate of the process's fd, which the caller closes. Undefined without such a fd or
   * process.
   */
  duplicate(fd: number): number | undefined {
    if (this.#closed) return undefined;
    try {
      return pidfdGetfd(this.pidfd, fd);
    } catch (error) {
      // EBADF, ESRCH; EPERM, EMFILE: as good as none
      if (error instanceof SysError) return undefined;
      throw error;
    }
  }

  /** Forgets a process that has exited. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#mm.drop();
    close(this.pidfd);
  }
}

/**
 * Undefined for a process that has given its mm up and is not yet dead. On a real kernel that is
 * between exit_mm and exit_notify, when /proc/<pid> answers ESRCH or EACCES. Undefined also for a
 * new image that the host may not look into.
 */
function spaceOf(pid: number): AddressSpace | undefined {
  try {
    return new AddressSpace(pid);
  } catch (error) {
    if (error instanceof SysError && (error.code === 'ESRCH' || error.code === 'EACCES')) return undefined;
    throw error;
  }
}

/** The process in whose system call this thread is; 0: in none, or it went on after a sleep. */
let current = 0;

export const currentPid = (): number => current;

/** The caller of a system call, as `current` is for the kernel. */
export interface Task {
  readonly pid: number;
  /** Its tid, as the host numbers it. */
  readonly tid: number;
  /** The thread group. A mapping records it as its mapper (MAP-15). */
  readonly process: Process;
  /** The address space of this call. */
  readonly mm: Mm;
  /** A fatal signal is pending: the channel has hung up. Ends a killable sleep (VAD-13). */
  readonly killed: AbortSignal;
  /** capable(CAP_IPC_LOCK) */
  capIpcLock(): boolean;
  /**
   * rlimit(RLIMIT_MEMLOCK) in pages, or the host's own setting instead; Infinity without a limit.
   */
  memlockLimitPages(): number;
  /** Called before a slice of a call that goes on later, for a task that caches values. */
  readonly enter?: () => void;
  readonly leave?: () => void;
}

/**
 * A thread of a client, as the hello of its channel named it. The channel belongs to one image of
 * the process, because exec closes it.
 */
export class ChannelTask implements Task {
  readonly tid: number;
  readonly process: Process;
  readonly mm: Mm;
  readonly killed: AbortSignal;
  /**
   * The process has promised to stay in its user namespace (wire.ts: PageRequest), so that is asked
   * for once.
   */
  staysInNamespace = false;
  #isInOurs: boolean | undefined;
  readonly #memlock: Memlock;
  #ipcLock: Answer<boolean> | undefined;
  #memlockPages: Answer<number> | undefined;

  /**
   * `tid` as the host numbers it. ESRCH when the process has no such thread; EACCES when the host
   * may not look into the process's image.
   */
  constructor(tid: number, process: Process, { killed, memlock }: { killed: AbortSignal; memlock: Memlock }) {
    if (!existsSync(`/proc/${process.pid}/task/${tid}`)) throw esrch(`process ${process.pid} has no thread ${tid}`);
    this.tid = tid;
    this.process = process;
    const mm = process.mmNow();
    if (!mm) throw eacces(`the address space of process ${process.pid} cannot be looked into`);
    this.mm = mm.grab();
    this.killed = killed;
    this.#memlock = memlock;
  }

  get pid(): number {
    return this.process.pid;
  }

  /**
   * A system call begins. Until leave(), which is at its end or its first sleep, each fact about
   * the caller is asked for once, however many mappings the call is about.
   */
  readonly enter = (): void => {
    current = this.pid;
    this.#ipcLock = {};
    this.#memlockPages = {};
    this.mm.enter();
  };

  readonly leave = (): void => {
    current = 0;
    this.#ipcLock = undefined;
    this.#memlockPages = undefined;
    this.mm.leave();
  };

  capIpcLock(): boolean {
    return asked(this.#ipcLock, () => hasIpcLockWhereItIs(this.tid) && this.#isInOurNamespace());
  }

  // HOT: a look costs 6 µs, more than all the rest of a MAP_DMA's system calls (bench, calls)
  #isInOurNamespace(): boolean {
    if (!this.staysInNamespace) return isInOurUserNamespace(this.pid, this.tid);
    this.#isInOurs ??= isInOurUserNamespace(this.pid, this.tid);
    return this.#isInOurs;
  }

  memlockLimitPages(): number {
    return asked(this.#memlockPages, () => Math.floor(this.#memlockBytes() / PAGE_SIZE));
  }

  #memlockBytes(): number {
    if (this.#memlock === 'as-process') return memlockLimit(this.pid);
    return this.#memlock === 'unlimited' ? Number.POSITIVE_INFINITY : this.#memlock;
  }

  /** The channel is gone. */
  end(): void {
    this.mm.drop();
  }
}

/** The processes that have, or had, a channel. */
export class ProcessTable {
  readonly #byPid = new Map<number, Process>();

  /** The process of the live `pid`, known or new. ESRCH, EACCES as AddressSpace says. */
  open(pid: number): Process {
    this.reap();
    const known = this.#byPid.get(pid);
    if (known) return known;
    const process = new Process(pid);
    this.#byPid.set(pid, process);
    return process;
  }

  /** Forgets the processes that have exited. */
  reap(): void {
    for (const [pid, process] of this.#byPid) {
      if (!process.exited()) continue;
      this.#byPid.delete(pid);
      process.close();
    }
  }

  close(): void {
    for (const process of this.#byPid.values()) process.close();
    this.#byPid.clear();
  }
}
