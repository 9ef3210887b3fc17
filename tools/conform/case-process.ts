/**
 * The runner's handle on a client process that plays one case. The process is started ahead of
 * time, and is gone when the case is over.
 */
import { Child, describeEnding, type Ending } from '../launch/child.ts';
import type { Assignment, Report } from './client/protocol.ts';

/** The longest time without a report. A step that the client waits for takes less. */
const SILENCE_MS = 45_000;

export interface Played {
  /** Answers by step number. The list is shorter than the case when the client could not go on. */
  readonly answers: readonly string[];
  readonly notes: readonly string[];
  readonly failure?: string;
}

export class CaseProcess {
  readonly #child: Child;

  constructor(argv: readonly string[]) {
    this.#child = new Child({ name: 'the client', argv });
    void this.#child.exited.then(() => this.#killAll()); // nobody needs what it leaves behind
  }

  /** Plays a case. Resolves when the process is gone, with everything it had open. */
  async play(assignment: Assignment): Promise<Played> {
    const answers: string[] = [];
    const notes: string[] = [];
    let failure: string | undefined = 'ended in the middle of a step';
    const kill = (): void => {
      failure = `no answer within ${SILENCE_MS / 1000} s`;
      this.#killAll();
    };
    let timer = setTimeout(kill, SILENCE_MS);
    this.#child.onLine('stdout', (line) => {
      clearTimeout(timer);
      timer = setTimeout(kill, SILENCE_MS);
      const report = JSON.parse(line) as Report;
      if ('answer' in report) answers[report.step] = report.answer;
      else if ('note' in report) notes.push(report.note);
      else failure = 'failure' in report ? report.failure : undefined;
    });
    this.#child.stdin.end(`${JSON.stringify(assignment)}\n`);
    const ending = await this.#child.closed;
    clearTimeout(timer);
    if (failure === undefined) return { answers, notes };
    return { answers, notes, failure: [failure, this.#reason(ending)].join('; ') };
  }

  /** Stops a client that is not needed any more. */
  async stop(): Promise<void> {
    this.#killAll();
    await this.#child.closed;
  }

  /**
   * The reason of a failure: the stderr line that names an error, else the first line, else how the
   * process ended.
   */
  #reason(ending: Ending): string {
    const lines = this.#child.errors.trimEnd().split('\n');
    return lines.findLast((line) => /Error/.test(line)) || lines[0] || `ended with ${describeEnding(ending)}`;
  }

  /**
   * Kills the process and the processes it has forked. One of those may be asleep and hold our
   * pipes open.
   */
  #killAll(): void {
    this.#child.killGroup('SIGKILL');
  }
}
