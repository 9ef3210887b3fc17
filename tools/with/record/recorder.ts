/**
 * Writes what a program's VFIO calls did as a case of a recording (docs/recordings.md, "Format"),
 * for `livevmm conform`. The first process that makes one is the main actor. Each other one is an
 * actor from its first call on: a fork of the nearest process above it that is recorded, or one
 * that has nothing. Nobody tells of close(2), of the end of a process, and of fds that are passed
 * on. So before each call all processes are compared with what they were. NOT MODELLED: two calls
 * at the same time, a file that only the queue of a socket holds, and what the program does with
 * its memory and its eventfds.
 */
import { VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { codeOf } from '../../../platform/errno.ts';
import { parentOf, processOf } from '../../../platform/process-status.ts';
import { holdersOf } from './holders.ts';
import { type RecordedCall, RecordedProcess } from './recorded-process.ts';

export class Recorder {
  readonly #line: (text: string) => void;
  /** Those that have not ended. */
  #processes: RecordedProcess[] = [];
  #count = 0;

  /** `line` gets the lines. `name` is the program's. */
  constructor(name: string, line: (text: string) => void) {
    this.#line = line;
    line(`case ${name.replace(/[^\w.-]/g, '_') || 'program'}`);
  }

  over(call: RecordedCall): void {
    const { path, asked } = call.notes;
    if (path !== undefined ? !path.startsWith(VFIO_GROUP_DIR) : asked.every(({ reply }) => reply.foreign)) return;
    const pid = processOf(call.tid);
    if (pid === undefined) return;
    for (const one of this.#processes) this.#catchUp(one);
    this.#processes = this.#processes.filter((one) => !one.isOver);
    (this.#known(pid) ?? this.#enter(pid)).over(call);
  }

  /** Writes what a process has closed since the last call, and its end. */
  #catchUp(its: RecordedProcess): void {
    const lost = its.lost().filter(([, identity]) => !this.#namedElsewhere(identity, its));
    if (lost.length > 0) this.#passOn(its, new Map(lost.map(([fd, identity]) => [identity, fd])));
    its.closes();
  }

  #namedElsewhere(identity: string, its: RecordedProcess): boolean {
    return this.#processes.some((one) => one !== its && !one.isOver && one.fdOf(identity) !== undefined);
  }

  /** A process has closed these files (identity → fd). Who has them open has got them from it. */
  #passOn(its: RecordedProcess, lost: ReadonlyMap<string, number>): void {
    for (const { pid, fd, identity } of holdersOf(new Set(lost.keys()))) {
      const receiver = this.#known(pid) ?? this.#enterIfThere(pid);
      if (receiver && receiver !== its) receiver.receive(fd, { from: its, its: lost.get(identity)! });
    }
  }

  #known(pid: number): RecordedProcess | undefined {
    return this.#processes.find((one) => one.pid === pid && !one.isOver);
  }

  /** Undefined for a process that is gone, or that we may not look at. */
  #enterIfThere(pid: number): RecordedProcess | undefined {
    try {
      return this.#enter(pid);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      return undefined;
    }
  }

  /** A process that is not recorded yet. ESRCH, EACCES. */
  #enter(pid: number): RecordedProcess {
    const entered = this.#newProcess(pid);
    this.#processes.push(entered);
    return entered;
  }

  #newProcess(pid: number): RecordedProcess {
    const others = { line: this.#line, giverOf: this.#giverOf };
    if (this.#count === 0) {
      this.#count = 1;
      return new RecordedProcess(pid, others);
    }
    const actor = `P${this.#count}`;
    const parent = this.#recordedAbove(pid);
    const entered = new RecordedProcess(pid, { ...others, actor, ...(parent ? { parent } : {}) });
    this.#count++;
    return entered;
  }

  #recordedAbove(pid: number): RecordedProcess | undefined {
    for (let above = parentOf(pid); above !== undefined && above > 1; above = parentOf(above)) {
      const known = this.#known(above);
      if (known) return known;
    }
    return undefined;
  }

  /** Another process that has this file open. */
  readonly #giverOf = (identity: string, receiver: RecordedProcess) => {
    for (const one of this.#processes) {
      const fd = one === receiver || one.isOver ? undefined : one.fdOf(identity);
      if (fd !== undefined) return { from: one, its: fd };
    }
    return undefined;
  };

  end(): void {
    this.#line('end');
    for (const one of this.#processes) one.close();
  }
}
