/** A worker entry: a translated guest that stores one number after the other, into a journal. */
import { parentPort } from 'node:worker_threads';

import { Hart } from '../../../../guest/riscv/hart.ts';
import { Translator } from '../../../../guest/riscv/translate/translator.ts';
import { wholeOf, within } from '../../../../platform/shared.ts';
import { workerInput } from '../../../../platform/thread.ts';
import { Journal } from '../../../../vmm/machine/hart-local/journal.ts';
import { emptyBus, RAM_BASE } from '../fixture.ts';
import { END_AT, JOURNAL_AT, NUMBER_AT, RAM_SIZE, START_AT, WORKSPACE_AT, type WriterInput } from './layout.ts';

const PATIENCE_MS = 10_000;

const { memory, program, hot, states } = workerInput<WriterInput>();
const buffer = memory.buffer as unknown as SharedArrayBuffer;
const translator = new Translator({ memory, at: WORKSPACE_AT, journal: JOURNAL_AT }, { hot, first: 0 });
const hart = new Hart(
  {
    ...{ hartId: 0, ram: buffer, ramBase: RAM_BASE, ramSize: RAM_SIZE, bus: emptyBus },
    ...{ lines: new Int32Array(new SharedArrayBuffer(4)), lineIndex: 0, time: () => 0n },
  },
  translator,
);
new Uint32Array(buffer).set(program);
hart.reset(RAM_BASE, 0n, BigInt(RAM_BASE + NUMBER_AT)); // a1
const journal = new Journal(within(wholeOf(buffer), JOURNAL_AT));
const words = new Int32Array(buffer);
parentPort!.postMessage('ready');
Atomics.wait(words, START_AT / 4, 0, PATIENCE_MS); // until the watcher looks
for (let state = 1; state <= states; state++) {
  journal.follow(state);
  if (state === 1) hart.journalTo(journal);
  while (!journal.closing) hart.run(1 << 20);
}
Atomics.store(words, END_AT / 4, 1);
parentPort!.postMessage(translator.translated);
