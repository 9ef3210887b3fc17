/** The threads of the actors: started once, assigned again for each exploration. */
import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../platform/thread.ts';
import type { ActorAssignment, ActorReply } from './control.ts';

const idle: Worker[] = [];

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
  const workers = assignments.map(
    ({ index }) => idle.pop() ?? startWorker('test/explore/worker', undefined, { name: `actor ${index}` }),
  );
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
