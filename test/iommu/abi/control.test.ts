import { describe, expect, it } from 'vitest';

import { parseControlRequest } from '../../../iommu/abi/control.ts';

describe('parseControlRequest', () => {
  it.each([
    [{ op: 'info' }],
    [{ op: 'timeline', bdf: '0000:00:02.0', fromNs: 0, toNs: 1.5e15 }],
    [{ op: 'ram-hash', sliceBytes: 4096 }],
    [{ op: 'rom', bdf: '0000:00:02.0', offset: 4096 }],
    [{ op: 'stop-device', bdf: '0000:00:02.0' }],
    [{ op: 'inject', defect: 'touch-pte' }],
    [{ op: 'inject', defect: 'corrupt-frame', bdf: '0000:00:03.0' }],
    [{ op: 'set-parameter', name: 'dma_entry_limit', value: '10' }],
  ])('takes %o', (request) => {
    expect(parseControlRequest(request)).toEqual(request);
  });

  it.each([
    ['without op', {}],
    ['op is no text', { op: 1 }],
    ['op that there is not', { op: 'reboot' }],
    ['op that every object has', { op: 'toString' }],
    ['bdf is missing', { op: 'timeline', fromNs: 0, toNs: 1 }],
    ['bdf is no text', { op: 'stop-device', bdf: 0x10 }],
    ['a time that is a text', { op: 'timeline', bdf: '0000:00:02.0', fromNs: 'x', toNs: 1 }],
    ['a time before 0', { op: 'timeline', bdf: '0000:00:02.0', fromNs: -1, toNs: 1 }],
    ['a time without end', { op: 'timeline', bdf: '0000:00:02.0', fromNs: 0, toNs: Number.POSITIVE_INFINITY }],
    ['a time that is none', { op: 'timeline', bdf: '0000:00:02.0', fromNs: Number.NaN, toNs: 1 }],
    ['an offset below 0', { op: 'rom', bdf: '0000:00:02.0', offset: -1 }],
    ['bytes below 0', { op: 'ram-hash', sliceBytes: -1 }],
    ['defect that there is not', { op: 'inject', defect: 'meltdown' }],
    ['a value that is no text', { op: 'set-parameter', name: 'dma_entry_limit', value: 10 }],
    ['a word too many', { op: 'info', bdf: '0000:00:02.0' }],
  ])('refuses with EINVAL: %s', (_what, request) => {
    expect(() => parseControlRequest(request)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
