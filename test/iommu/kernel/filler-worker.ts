/**
 * Adds 1 to an eventfd by a source of it, again and again, as the word `state` says. Never blocks.
 */
import { EventfdSources } from '../../../platform/eventfd-source.ts';
import { workerInput } from '../../../platform/thread.ts';
import { ACKNOWLEDGED, type FillerWork, PAUSE, RUN, STATE, STOP } from './filler-words.ts';

const { sources, source, words: memory } = workerInput<FillerWork>();
const view = new EventfdSources(sources);
const words = new Int32Array(memory);
for (let state = RUN; state !== STOP; state = Atomics.load(words, STATE)) {
  if (state === RUN) view.signal(source);
  Atomics.store(words, ACKNOWLEDGED, state);
  Atomics.notify(words, ACKNOWLEDGED);
  if (state === PAUSE) Atomics.wait(words, STATE, PAUSE, 1000); // woken by the test
}
