/**
 * The shard's handle on one client of a stress run. A client is a process that is started again and
 * again, perhaps with a partner process that it starts itself. Each process has a log.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { close } from '../../platform/libc/fd.ts';
import { socketPair } from '../../platform/libc/unix-socket.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { Child, describeEnding } from '../launch/child.ts';
import { programArgv } from '../launch/programs.ts';
import { type Assignment, type Complaint, NR_GUARDED_PAGES, STATUS_COMPLAINED } from './client/assignment.ts';
import { LOG_BYTES, LogReader, PHASE } from './event-log.ts';

/** One process. Its log and its memory stay when another process replaces it. */
export class Member {
  readonly name: string;
  readonly log: LogReader;
  readonly fds: readonly [number, number];
  readonly #mapping: Mapping;

  constructor(name: string) {
    this.name = name;
    const log = createMemory(`log of ${name}`, LOG_BYTES);
    this.fds = [log, createMemory(`memory of ${name}`, NR_GUARDED_PAGES * PAGE_SIZE)];
    this.#mapping = new Mapping(log, LOG_BYTES);
    this.log = new LogReader(this.#mapping.buffer);
  }

  close(): void {
    for (const fd of this.fds) close(fd);
    this.#mapping.release();
  }
}

export interface ActorHandlers {
  readonly complained: (complaint: Complaint) => void;
  /** The process has written a line to stderr. */
  readonly spoke: (actor: string, line: string) => void;
  /** A process has ended, though nobody asked for that. */
  readonly ended: (member: Member, how: string) => void;
}

export class ActorProcess {
  readonly name: string;
  readonly members: readonly Member[];
  readonly #handlers: ActorHandlers;
  /** Resolves when the process and all processes it has started have ended. */
  closed: Promise<void> = Promise.resolve();
  /** How many processes have been started for this actor so far. */
  incarnations = 0;
  #child: Child | undefined;
  #endIsWanted = false;
  /** Whether the wanted end is an orderly one (a stop request) and not a kill. */
  #inOrder = false;

  /** `partner`: the name of a second process that the first one starts. */
  constructor(name: string, partner: string | undefined, handlers: ActorHandlers) {
    this.name = name;
    this.members = [name, ...(partner === undefined ? [] : [partner])].map((one) => new Member(one));
    this.#handlers = handlers;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  start(assignment: Assignment): void {
    this.incarnations++;
    this.#endIsWanted = false;
    for (const { log } of this.members) log.restart();
    // The partner is in the same process group. Nothing is ever written to stdin: its end tells the
    // client that the shard is dead. Node would end a pipe of its own with the first process.
    const [ours, theirs] = socketPair();
    const stdio = [theirs, 'pipe', 'pipe', ...this.members.flatMap(({ fds }) => fds)] as const;
    const child = new Child({ name: this.name, argv: programArgv('stress-client', JSON.stringify(assignment)), stdio });
    close(theirs);
    this.#child = child;
    child.onLine('stdout', (line) => this.#handlers.complained(JSON.parse(line) as Complaint));
    child.onLine('stderr', (line) => this.#handlers.spoke(this.name, line));
    const [main] = this.members as [Member];
    void child.exited.then((ending) => {
      const goesOn = main.log.phase() === PHASE.guarded || isGuardian(main, child);
      if (ending.status !== STATUS_COMPLAINED && !goesOn) this.#check(main, describeEnding(ending));
    });
    this.closed = child.closed.then(() => {
      this.#child = undefined;
      close(ours);
      if (main.log.phase() === PHASE.guarded || isGuardian(main, child)) this.#check(main, 'an unknown status');
      for (const partner of this.members.slice(1)) this.#check(partner, 'an unknown status');
    });
  }

  /** Handles the end of a process. An end that was not wanted, or not orderly, is reported. */
  #check(member: Member, how: string): void {
    if (this.#endIsWanted && (!this.#inOrder || member.log.phase() === PHASE.ended)) return;
    this.#handlers.ended(member, how);
  }

  /** Asks the first member to wait for the kernel's end. */
  requestPark(): void {
    this.members[0]!.log.requestPark();
  }

  /** The kernel goes down, and this client with it: its end is no failure. */
  expectKernelEnd(): void {
    this.#endIsWanted = true;
    this.#inOrder = false;
  }

  /** Asks all members to end in good order. */
  requestStop(): void {
    this.#endIsWanted = true;
    this.#inOrder = true;
    for (const { log } of this.members) log.requestStop();
  }

  /** Kills `first` now and the other members `gapMs` later. */
  async kill(first: Member | undefined, gapMs: number): Promise<void> {
    this.#endIsWanted = true;
    this.#inOrder = false;
    if (first && first.log.pid() > 0) signal(first.log.pid(), 'SIGKILL');
    else if (first === this.members[0]) this.#child?.kill('SIGKILL');
    if (gapMs > 0) await sleep(gapMs);
    this.killAll();
    await this.closed;
  }

  killAll(): void {
    this.#endIsWanted = true;
    this.#inOrder = false;
    this.#signalAll('SIGKILL');
  }

  freeze(): void {
    this.#signalAll('SIGSTOP');
  }

  thaw(): void {
    this.#signalAll('SIGCONT');
  }

  #signalAll(name: NodeJS.Signals): void {
    this.#child?.killGroup(name);
  }

  close(): void {
    for (const member of this.members) member.close();
  }
}

/** Whether the guardian of an exec goes on as this member. */
function isGuardian({ log }: Member, { pid }: Child): boolean {
  return log.pid() !== 0 && log.pid() !== pid;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has just ended
  }
}
