/**
 * platform/eventfd-source.ts: several threads signal one source, through a ring that has room for
 * two completions of each thread.
 */
import assert from 'node:assert/strict';
import { EventfdSources, SOURCES_BYTES, Sources } from '../../platform/eventfd-source.ts';
import { defineScenario, type LibcModel } from './scenario.ts';

const SIGNALS = 5;
/**
 * Words of the ring's page; the last three are what Linux keeps for itself, and the eventfd's
 * count.
 */
const SQ_TAIL = 0;
const CQ_HEAD = 1;
const CQ_TAIL = 2;
const SQ_HEAD = 3;
const COUNT = 4;
const CQ_ENTRIES = 4;

interface Memory extends Record<string, SharedArrayBuffer> {
  readonly sources: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
}

/**
 * io_uring_enter(2) as far as an empty request goes: it completes at once, and that signals if
 * there was room to say so.
 */
function libc({ ring }: Memory): LibcModel {
  const words = new Int32Array(ring);
  return {
    ringWords: () => words,
    ioUringSubmit: () => {
      assert.ok(words[SQ_TAIL]! > words[SQ_HEAD]!, 'a request is there for each submission');
      words[SQ_HEAD]!++;
      if (words[CQ_TAIL]! - words[CQ_HEAD]! >= CQ_ENTRIES) return;
      words[CQ_TAIL]!++;
      words[COUNT]!++;
    },
  };
}

const signaller = ({ sources }: Memory): void => {
  const view = new EventfdSources(sources);
  for (let i = 0; i < SIGNALS; i++) view.signal(0);
};

export const ringSignals = defineScenario<Memory>({
  file: import.meta.url,
  name: 'ring-signals',
  memory: () => {
    const sources = new SharedArrayBuffer(SOURCES_BYTES);
    const words = new Int32Array(sources);
    words[Sources.word.sqTail] = SQ_TAIL;
    words[Sources.word.cqHead] = CQ_HEAD;
    words[Sources.word.cqTail] = CQ_TAIL;
    words[Sources.word.vaddrLo] = 4096; // of source 0
    return { sources, ring: new SharedArrayBuffer(64) };
  },
  libc,
  names: (buffer, word) => (buffer === 'ring' ? ['sqTail', 'cqHead', 'cqTail', 'sqHead', 'count'][word] : undefined),
  actors: { device: signaller, kernel: signaller },
  check: ({ ring }) => {
    assert.equal(new Int32Array(ring)[COUNT], 2 * SIGNALS, 'each signal is in the count');
  },
});
