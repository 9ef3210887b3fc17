/**
 * Writes what a program's VFIO calls did as cases of a recording (docs/recordings.md, "Format"),
 * for `livevmm conform`: one for each process, with the processes that it forks. NOT MODELLED: two
 * calls at the same time, forks of forks, fds that another process has passed, and what the program
 * does with its memory and its eventfds.
 */
import { VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { parentOf, processOf } from '../../../platform/process-status.ts';
import { type RecordedCall, RecordedProcess } from './recorded-process.ts';

/** A process that nobody in the recording has forked, and its forks. */
interface Case {
  readonly main: RecordedProcess;
  readonly forks: RecordedProcess[];
  readonly line: (text: string) => void;
}

export class Recorder {
  readonly #name: string;
  readonly #line: (text: string) => void;
  readonly #cases: Case[] = [];
  /** The lines of all cases but the first, which is written at once. */
  readonly #later: string[][] = [];
  #missing = 0;

  /** `line` gets the lines. `name` is the program's. */
  constructor(name: string, line: (text: string) => void) {
    this.#name = name.replace(/[^\w.-]/g, '_') || 'program';
    this.#line = line;
    line(`case ${this.#name}`);
  }

  over(call: RecordedCall): void {
    const { path, asked } = call.notes;
    if (path !== undefined ? !path.startsWith(VFIO_GROUP_DIR) : asked.every(({ reply }) => reply.foreign)) return;
    const pid = processOf(call.tid);
    if (pid === undefined) return;
    const known = this.#cases.find(({ main, forks }) => [main, ...forks].some((one) => one.pid === pid && one.lives()));
    const its = known ?? this.#enter(pid);
    if (!its) {
      this.#missing++;
      return;
    }
    tellEnds(its);
    [its.main, ...its.forks].find((one) => one.pid === pid)!.over(call);
  }

  /** The case of a process that makes its first call. Undefined for a fork of a fork. */
  #enter(pid: number): Case | undefined {
    const parent = parentOf(pid);
    const ofFork = this.#cases.some(({ forks }) => forks.some((one) => one.pid === parent));
    if (ofFork) return undefined;
    const ofParent = this.#cases.find(({ main }) => main.pid === parent && main.lives());
    if (ofParent) {
      tellEnds(ofParent);
      ofParent.forks.push(ofParent.main.fork(pid, `P${ofParent.forks.length + 1}`));
      return ofParent;
    }
    const line = this.#cases.length === 0 ? this.#line : this.#newCase();
    if (this.#cases.some(({ main }) => main.lives())) line('# a process of a case before this one was still there');
    const its = { main: new RecordedProcess(pid, line), forks: [], line };
    this.#cases.push(its);
    return its;
  }

  #newCase(): (text: string) => void {
    const lines: string[] = [];
    this.#later.push(lines);
    lines.push(`case ${this.#name}-${this.#later.length + 1}`);
    return (text) => void lines.push(text);
  }

  end(): void {
    if (this.#missing > 0) this.#line(`# ${this.#missing} calls of forks of forks are not recorded`);
    this.#line('end');
    for (const lines of this.#later) {
      for (const line of lines) this.#line(line);
      this.#line('end');
    }
    for (const { main, forks } of this.#cases) for (const one of [main, ...forks]) one.close();
  }
}

/** Processes of the case that have ended hold nothing any more. */
function tellEnds({ main, forks }: Case): void {
  for (const one of [...forks, main]) one.endsIfGone();
}
