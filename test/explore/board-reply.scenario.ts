/** iommu/bus/board-reply.ts: the kernel's thread waits for the board's answer to its call. */
import assert from 'node:assert/strict';
import { answerBoardCall, awaitBoardReply, createBoardReply } from '../../iommu/bus/board-reply.ts';
import { SysError } from '../../platform/errno.ts';
import { defineScenario } from './scenario.ts';

const CALLS = 2;
/** The answer to call `seq`: both halves of it matter. */
const pfnOf = (seq: number): number => seq * (2 ** 32 + 1);

const memory = () => ({ reply: createBoardReply(), port: new SharedArrayBuffer(64) });
type Words = ReturnType<typeof memory>;

const names = (buffer: string, word: number): string | undefined =>
  buffer === 'reply' ? ['answered', 'errno', 'pfnLo', 'pfnHi'][word] : 'posted';

/** The message port: the number of calls posted. */
function board({ reply, port }: Words): void {
  const posted = new Int32Array(port);
  for (let seq = 1; seq <= CALLS; seq++) {
    while (Atomics.load(posted, 0) < seq) Atomics.wait(posted, 0, seq - 1);
    answerBoardCall(reply, seq, { pfn: pfnOf(seq) });
  }
}

function call({ reply, port }: Words, seq: number): number | undefined {
  Atomics.store(new Int32Array(port), 0, seq);
  Atomics.notify(new Int32Array(port), 0);
  try {
    return awaitBoardReply(reply, seq, 5000);
  } catch (error) {
    assert.ok(error instanceof SysError && error.code === 'ETIMEDOUT', String(error));
    return undefined;
  }
}

/** Call after call, each with its own answer. */
export const calls = defineScenario({
  file: import.meta.url,
  name: 'board-calls',
  memory,
  names,
  actors: {
    kernel: (words) => {
      for (let seq = 1; seq <= CALLS; seq++) assert.equal(call(words, seq), pfnOf(seq), `answer to call ${seq}`);
    },
    board,
  },
});

/** Calls time out: a late answer is not taken for that of the next call. */
export const lateAnswers = defineScenario({
  file: import.meta.url,
  name: 'late-answers',
  memory,
  names,
  timeouts: 'any',
  actors: {
    kernel: (words) => {
      for (let seq = 1; seq <= CALLS; seq++) {
        const answer = call(words, seq);
        if (answer !== undefined) assert.equal(answer, pfnOf(seq), `answer to call ${seq}`);
      }
    },
    board,
  },
});
