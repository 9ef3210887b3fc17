/**
 * A process that a script starts besides the client: by fork, or with nothing open and mapped.
 * DEVIATION: Node cannot fork(2): V8's own threads would be missing in the child. So the client
 * starts a new process instead, also for a fork of a fork. It takes the same fds under the same
 * numbers, the limit and the user of the process that forks, maps the same objects at the same
 * vaddrs, and has a copy of the private memory. VFIO sees no difference: another mm, another task,
 * and shared open files.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { hex } from '../../../platform/hex.ts';
import { close, dupTo, setCloexec } from '../../../platform/libc/fd.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  mprotect,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc/mmap.ts';
import { getRlimit, RLIMIT_MEMLOCK, setRlimit } from '../../../platform/libc/other-process.ts';
import { gettid } from '../../../platform/libc/this-process.ts';
import { objectId } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { AddressSpace } from '../../../platform/process.ts';
import { memlockLimit } from '../../../platform/process-rights.ts';
import { uidsOf } from '../../../platform/process-status.ts';
import type { Vma } from '../../../platform/vma.ts';
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { programPath } from '../../launch/programs.ts';
import { END_VADDR, FIRST_VADDR, State } from '../steps/state.ts';
import type { ActorLink } from './actor.ts';
import { LineReader, writeLine } from './lines.ts';
import { vmasOf } from './memory.ts';
import { takeFd } from './pass.ts';
import type { ActorMessage, ActorReply, ActorRequest, ForkData, Holdings, ThreadData } from './protocol.ts';
import { RemoteActor } from './remote-actor.ts';
import { handleSignal, isDeadly, restoreDefaults } from './signals.ts';
import { becomeUser } from './user.ts';

export const FORK_FLAG = '--fork';

export class ForkLink implements ActorLink {
  readonly #child: ChildProcess;
  tid = 0;
  readonly #ended: Promise<string>;
  #hasEnded = false;
  /** Signals that the process handles. */
  readonly #handled: Set<number>;
  /** Whether the running step is an exec, which takes the handlers away. */
  #execs = false;
  onReply: (reply: ActorReply) => void = () => {};

  private constructor(child: ChildProcess, handled: ReadonlySet<number>) {
    this.#child = child;
    this.#handled = new Set(handled);
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#hasEnded = true;
        resolve(signal ? `ended sig=${constants.signals[signal]}` : `ended status=${code}`);
      });
    });
  }

  /** Resolves when the child has all that `data` tells and waits for its first step. */
  static start(data: ForkData): Promise<ForkLink> {
    const { fds, signals } = data.holdings.state;
    const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'pipe', 2];
    for (const fd of Object.values(fds)) {
      while (stdio.length <= fd) stdio.push('ignore');
      stdio[fd] = 2; // so that Node opens nothing there
    }
    const child = spawn(process.execPath, [programPath('conform-client'), FORK_FLAG], { stdio });
    const link = new ForkLink(child, new Set(signals));
    child.stdin!.on('error', () => {}); // the child was killed; `exit` tells
    link.#send(data);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error('a forked process has ended')));
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const message = JSON.parse(line) as ActorMessage;
        if ('tid' in message) {
          link.tid = message.tid;
          resolve(link);
        } else link.#replied(message);
      });
    });
  }

  #send(value: ActorRequest | ForkData): void {
    this.#child.stdin!.write(`${JSON.stringify(value)}\n`);
  }

  send(request: ActorRequest): void {
    this.#execs = 'step' in request && request.step.op === 'exec';
    this.#send(request);
  }

  #replied(reply: ActorReply): void {
    if (this.#execs && reply.answer === '0') this.#handled.clear();
    for (const change of reply.changes) if ('signal' in change) this.#handled.add(change.signal);
    this.onReply(reply);
  }

  /**
   * Sends a signal. If the signal ends the process, waits for that and returns `ended sig=9`; else
   * returns undefined.
   */
  async kill(signal: number): Promise<string | undefined> {
    if (this.#hasEnded) return this.#ended;
    process.kill(this.#child.pid!, signal);
    return isDeadly(signal, this.#handled) ? this.#ended : undefined;
  }
}

/** Main function of a forked process. */
export async function runFork(): Promise<void> {
  const input = new LineReader(0);
  const data = input.next() as ForkData;
  restoreDefaults('SIGPIPE', 'SIGUSR1');
  const { parentPid, fresh, holdings } = data;
  const state = new State(holdings.state);
  takeFds(parentPid, holdings);
  for (const signal of state.signals) handleSignal(signal);
  const actor = new RemoteActor(data, state);
  if (!fresh) {
    copyMemory(parentPid, state, actor.interpreter.kernel);
    becomeAs(parentPid);
  }
  say({ tid: gettid() });
  await serve(actor, input);
}

/** Main function of a forked process after an exec. */
export async function resumeFork(data: ThreadData, state: State): Promise<void> {
  restoreDefaults('SIGPIPE', 'SIGUSR1');
  const actor = new RemoteActor(data, state);
  say({ answer: '0', changes: [] });
  await serve(actor, new LineReader(0));
}

function takeFds(parentPid: number, { state: { fds }, cloexec }: Holdings): void {
  for (const fd of new Set(Object.values(fds))) {
    const taken = takeFd(parentPid, fd);
    dupTo(taken, fd);
    close(taken);
    setCloexec(fd, cloexec.includes(fd));
  }
}

/** With the limit and the user of process `pid`. */
function becomeAs(pid: number): void {
  const limit = memlockLimit(pid);
  const { hard } = getRlimit(0, RLIMIT_MEMLOCK);
  setRlimit(0, RLIMIT_MEMLOCK, { soft: Number.isFinite(limit) ? BigInt(limit) : hard, hard });
  const uid = uidsOf(pid)?.[0];
  if (uid !== undefined && uid !== process.getuid!()) becomeUser(uid);
}

const say = (message: ActorMessage): void => writeLine(1, message);

async function serve(actor: RemoteActor, input: LineReader): Promise<void> {
  for (;;) {
    const request = input.next();
    if (request === undefined) return;
    say(await actor.carryOut(request as ActorRequest));
  }
}

/**
 * Copies the parent's script memory to the same vaddrs, mapping by mapping. The parent waits
 * meanwhile.
 */
function copyMemory(parentPid: number, state: State, kernel: KernelClient): void {
  const space = new AddressSpace(parentPid);
  try {
    for (const vma of vmasOf(parentPid)) {
      if (vma.start < FIRST_VADDR || vma.end > END_VADDR) continue;
      if (vma.shared) copyShared(vma, state, kernel);
      else copyPrivate(space, vma);
    }
  } finally {
    space.close();
  }
}

const protOf = ({ readable, writable }: Vma): number => (readable ? PROT_READ : 0) | (writable ? PROT_WRITE : 0);

/**
 * Maps the same object, by its fd. A BAR has no object: the device is asked for another mapping,
 * which holds the device's file as well.
 */
function copyShared(vma: Vma, state: State, kernel: KernelClient): void {
  const { start: vaddr, end, offset, inode } = vma;
  const [length, prot, flags] = [end - vaddr, protOf(vma), MAP_SHARED | MAP_FIXED];
  const bar = state.barAt(vaddr);
  if (bar) {
    kernel.mmap({ fd: bar.fd, offset: bar.offset + vaddr - bar.vaddr, length, prot, flags, vaddr });
    return;
  }
  const fd = [...state.fds()].map(([, number]) => number).find((number) => objectId(number).ino === inode);
  if (fd === undefined) throw new Error(`fork: no fd of the object mapped at ${hex(vaddr)}`);
  // SAFETY: the script's part of the vaddr space, where nothing is mapped yet
  mmap(vaddr, length, prot, flags, fd, offset);
}

function copyPrivate(space: AddressSpace, vma: Vma): void {
  const { start, end, readable } = vma;
  // SAFETY: likewise.
  mmap(start, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  const own = new AddressSpace(process.pid);
  const page = new Uint8Array(PAGE_SIZE);
  for (let at = start; readable && at < end; at += PAGE_SIZE) {
    space.read(at, page);
    if (page.some((byte) => byte !== 0)) own.write(at, page); // untouched pages stay untouched
  }
  own.close();
  mprotect(start, end - start, protOf(vma));
}
