/** The client process of one vector case: takes it from stdin, plays it, reports on stdout. Started ahead of time by the runner. */
import { RESUME_FLAG, takeHandover } from './exec.ts';
import { FORK_FLAG, runFork } from './fork.ts';
import { LineReader, writeLine } from './lines.ts';
import type { Assignment, Report } from './protocol.ts';
import { Script } from './script.ts';
import { settle } from './settle.ts';
import { State } from './state.ts';

const report = (message: Report): void => writeLine(1, message);

async function play(script: Script, first: number): Promise<void> {
  try {
    await script.play(first);
    report({ done: true });
  } catch (error) {
    report({ failure: (error as Error).message });
  }
  await script.end();
  process.kill(process.pid, 'SIGKILL'); // threads may sleep in the kernel; this ends them too
}

const [flag, value] = process.argv.slice(2);
if (flag === FORK_FLAG) runFork();
else if (flag === RESUME_FLAG) {
  const { assignment, step, state: saved } = takeHandover(Number(value));
  const state = new State(saved);
  state.forgetVaddrs();
  const script = new Script(assignment, state, report);
  report({ step, answer: '0' });
  await play(script, step + 1);
} else {
  const assignment = new LineReader(0).next() as Assignment | undefined;
  if (assignment) {
    const script = new Script(assignment, new State(), report);
    settle(script.interpreter.kernel);
    await play(script, 0);
  }
}
