/** What two threads of this machine can do: one word handed over and back. */
import { once } from 'node:events';
import { startWorker } from '../../../platform/thread.ts';
import { type EchoInput, EchoWords, MOST_SPINS } from './protocol.ts';

/**
 * Starts an echo thread and gives `use` a function that hands a number over and has it back: by
 * spinning, or by Atomics.wait and notify.
 */
export async function withEcho<T>(spins: boolean, use: (handOver: () => void) => T | Promise<T>): Promise<T> {
  const input: EchoInput = { words: new SharedArrayBuffer(EchoWords.size), spins };
  const worker = startWorker('tools/bench/echo/worker', input, { name: 'echo' });
  try {
    await once(worker, 'message');
    const words = new Int32Array(input.words);
    const { question, answer } = EchoWords.word;
    let number = 0;
    return await use(() => {
      Atomics.store(words, question, ++number); // pairs with the load in worker.ts
      if (spins) for (let look = 0; look < MOST_SPINS && Atomics.load(words, answer) !== number; look++);
      else {
        Atomics.notify(words, question);
        Atomics.wait(words, answer, number - 1, 1000); // woken by worker.ts
      }
    });
  } finally {
    await worker.terminate();
  }
}
