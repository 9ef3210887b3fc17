import { describe, expect, it } from 'vitest';

import { estimatePause } from '../../../vmm/live-update/cost.ts';

describe('the estimate of a pause', () => {
  it('is what the last update took, if there was one', () => {
    const estimate = { pauseMs: 61.5, from: 'last-update', without: [] };
    expect(estimatePause({ startMs: 40, saveMs: 1 }, { pauseMs: 61.5 })).toEqual(estimate);
    expect(estimatePause({ saveMs: 1 }, { pauseMs: 61.5 })).toEqual(estimate);
  });

  it('is otherwise the sum of what the preflight measured, and says what it leaves out', () => {
    expect(estimatePause({ startMs: 40.25, saveMs: 1.5 }, undefined)).toEqual({
      pauseMs: 41.75,
      from: 'preflight',
      without: ['stop', 'invalidate', 'map', 'remap', 'load', 'resume'],
    });
  });

  it('is none when nothing was measured: an earlier build does not tell when it began', () => {
    expect(estimatePause({ saveMs: 1.5 }, undefined)).toBeUndefined();
    expect(estimatePause({ saveMs: 1.5 }, { status: 'completed' })).toBeUndefined();
  });
});
