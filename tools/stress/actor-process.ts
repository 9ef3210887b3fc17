/**
 * A client of a stress run as the shard sees it: a process, perhaps with a partner that it starts,
 * and their logs. Started again and again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { close } from '../../platform/libc.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { Child, describeEnding } from '../launch/child.ts';
import { programArgv } from '../launch/programs.ts';
import { type Assignment, type Complaint, NR_GUARDED_PAGES, STATUS_COMPLAINED } from './client/assignment.ts';
import { LOG_BYTES, LogReader, PHASE } from './event-log.ts';

/** One process: its log and its memory stay when it is replaced by another. */
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
  /** It has said something on stderr. */
  readonly spoke: (actor: string, line: string) => void;
  /** It has ended, with its partner, though nobody asked for that. */
  readonly ended: (member: Member, how: string) => void;
}

export class ActorProcess {
  readonly name: string;
  readonly members: readonly Member[];
  readonly #handlers: ActorHandlers;
  /** The process and all it has started have ended. */
  closed: Promise<void> = Promise.resolve();
  /** Processes that had this part. */
  incarnations = 0;
  #child: Child | undefined;
  #endIsWanted = false;
  /** Whether the end that is wanted is one in order. */
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
    const stdio = ['pipe', 'pipe', 'pipe', ...this.members.flatMap(({ fds }) => fds)] as const;
    // The partner is in its process group as well. Nothing is ever written to stdin: its end is the
    // message.
    const child = new Child({ name: this.name, argv: programArgv('stress-client', JSON.stringify(assignment)), stdio });
    this.#child = child;
    child.onLine('stdout', (line) => this.#handlers.complained(JSON.parse(line) as Complaint));
    child.onLine('stderr', (line) => this.#handlers.spoke(this.name, line));
    void child.exited.then((ending) => {
      if (ending.status !== STATUS_COMPLAINED) this.#check(this.members[0]!, describeEnding(ending));
    });
    this.closed = child.closed.then(() => {
      this.#child = undefined;
      for (const partner of this.members.slice(1)) this.#check(partner, 'an unknown status');
    });
  }

  /** A process has ended: was it meant to? */
  #check(member: Member, how: string): void {
    if (this.#endIsWanted && (!this.#inOrder || member.log.phase() === PHASE.ended)) return;
    this.#handlers.ended(member, how);
  }

  /** Asks all members to end in order. */
  requestStop(): void {
    this.#endIsWanted = true;
    this.#inOrder = true;
    for (const { log } of this.members) log.requestStop();
  }

  /** Kills one member now and the others `gapMs` later. */
  async kill(first: Member | undefined, gapMs: number): Promise<void> {
    this.#endIsWanted = true;
    this.#inOrder = false;
    if (first === this.members[0]) this.#child?.kill('SIGKILL');
    else if (first && first.log.pid() > 0) signal(first.log.pid(), 'SIGKILL');
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

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has just ended
  }
}
