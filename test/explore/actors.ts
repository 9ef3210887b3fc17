/**
 * The threads of the actors. They are started once and get a new assignment for each exploration.
 * DEVIATION: platform/thread.ts does not start them, because it would load tsx in each of them: 0.7
 * s instead of 30 ms.
 */
import { Worker } from 'node:worker_threads';
import { threadCode } from './bundle.ts';
import type { ActorAssignment, ActorReply } from './control.ts';

const idle: Worker[] = [];
let code: Promise<string> | undefined;

function reply(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off('message', onMessage);
      worker.off('error', reject);
      act();
    };
    const onMessage = ({ error }: ActorReply): void =>
      settle(() => (error === undefined ? resolve() : reject(new Error(error))));
    worker.on('message', onMessage);
    worker.on('error', reject);
  });
}

/** A thread for each assignment, ready to run its actor. */
export async function assign(assignments: readonly ActorAssignment[]): Promise<Worker[]> {
  code ??= threadCode();
  const text = await code;
  const start = () => new Worker(text, { eval: true, name: 'actor', execArgv: [] });
  const workers = assignments.map(() => idle.pop() ?? start());
  const ready = assignments.map((assignment, i) => {
    const answered = reply(workers[i]!);
    workers[i]!.postMessage(assignment);
    return answered;
  });
  const results = await Promise.allSettled(ready);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw failed.reason;
  }
  return workers;
}

/** Takes the threads back; `leave` makes them leave their actors. */
export async function release(workers: readonly Worker[], leave: () => void): Promise<void> {
  const left = workers.map(reply);
  leave();
  await Promise.all(left);
  idle.push(...workers);
}

/** Ends threads that do not come back. */
export async function kill(workers: readonly Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.terminate()));
}

/** Ends all threads; after the last exploration of a test file. */
export async function stopActors(): Promise<void> {
  await kill(idle.splice(0));
}
