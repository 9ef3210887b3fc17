import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import { type EchoInput, EchoWords } from './protocol.ts';

const { words: buffer, spins } = workerInput<EchoInput>();
const words = new Int32Array(buffer);
const { question, answer } = EchoWords.word;
parentPort!.postMessage('ready');
for (let seen = 0; ; ) {
  // Woken by the notify in hand-over.ts; the bench ends the thread.
  if (!spins) Atomics.wait(words, question, seen, 1000);
  const now = Atomics.load(words, question); // pairs with the store in hand-over.ts
  if (now === seen) continue;
  seen = now;
  Atomics.store(words, answer, now);
  if (!spins) Atomics.notify(words, answer);
}
