/**
 * The client process of one vector case. It reads the case from stdin, plays it and reports on
 * stdout. The runner starts it ahead of time. With `--native CLIENT HOST SOCKET OPTION…` it makes
 * no call itself: it lets a native client do that, under a supervisor.
 */

import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { NATIVE_FLAG } from '../native/flag.ts';
import { NativeScript } from '../native/script.ts';
import { NativeClient } from '../native/start.ts';
import { State } from '../steps/state.ts';
import { endWithParent } from './end-with-parent.ts';
import { RESUME_FLAG, takeHandover } from './exec.ts';
import { FORK_FLAG, resumeFork, runFork } from './fork.ts';
import { LineReader, writeLine } from './lines.ts';
import type { Assignment, Report } from './protocol.ts';
import { Script } from './script.ts';
import { settle } from './settle.ts';
import { restoreDefaults } from './signals.ts';
import { throughFolder } from './socket-folder.ts';

const report = (message: Report): void => writeLine(1, message);

function start(): Promise<void> | undefined {
  const assignment = new LineReader(0).next() as Assignment | undefined;
  if (!assignment) return undefined; // not needed
  const state = new State();
  const script = new Script(throughFolder(assignment, state), state, report);
  settle(script.interpreter.kernel);
  return finish(script, 0);
}

/** Plays the case with a native client, which is started before the case is there. */
async function startNative([client = '', host = '', socketPath = '', ...options]: readonly string[]): Promise<void> {
  const native = new NativeClient({ client, host, socketPath, options });
  const assignment = new LineReader(0).next() as Assignment | undefined;
  let script: NativeScript | undefined;
  try {
    const first = await native.first();
    if (!assignment) return; // not needed
    const kernel = new KernelClient(host);
    settle(kernel);
    script = new NativeScript({ assignment, threads: native.threads, first, host: kernel, report });
    await native.whileAlive(script.play());
    report({ done: true });
  } finally {
    await native.end(script?.pids() ?? []);
  }
}

function resume(fd: number): Promise<void> | undefined {
  const { next, state: saved } = takeHandover(fd);
  const state = new State(saved);
  state.forgetImage();
  if ('fork' in next) {
    return resumeFork(next.fork, state);
  }
  const { assignment, step } = next;
  const script = new Script(assignment, state, report);
  report({ step, answer: '0' });
  return finish(script, step + 1);
}

/** Plays the rest of the script, then ends the process. */
async function finish(script: Script, first: number): Promise<void> {
  try {
    await script.play(first);
    report({ done: true });
  } finally {
    await script.end();
  }
}

async function main([flag, value, ...more]: readonly string[]): Promise<void> {
  if (flag === FORK_FLAG) return runFork();
  restoreDefaults('SIGUSR1'); // not SIGPIPE: a write to a dead forked process must not kill us
  try {
    if (flag === NATIVE_FLAG) await startNative([value!, ...more]);
    else await (flag === RESUME_FLAG ? resume(Number(value)) : start());
  } catch (error) {
    report({ failure: (error as Error).message });
  }
  process.kill(process.pid, 'SIGKILL'); // threads may sleep in the kernel; SIGKILL ends them too
}

endWithParent();
void main(process.argv.slice(2));
