import { describe, expect, it } from 'vitest';

import { milliseconds, parseProperties, unsigned64 } from '../../../devices/kit/properties.ts';
import type { SysError } from '../../../platform/errno.ts';

const TABLE = { 'dma-latency-ms': milliseconds(100, 'latency'), 'dma-mask': unsigned64(0xfffn, 'mask') };

function refusal(given: Readonly<Record<string, string>>): Pick<SysError, 'code' | 'message'> {
  try {
    parseProperties('edu', TABLE, given);
  } catch (error) {
    const { code, message } = error as SysError;
    return { code, message };
  }
  throw new Error('accepted');
}

describe('device properties', () => {
  it('have their defaults', () => {
    expect(parseProperties('edu', TABLE, {})).toEqual({ 'dma-latency-ms': 100, 'dma-mask': 0xfffn });
  });

  it('are read as decimal, fraction or hex', () => {
    const given = { 'dma-latency-ms': '0.5', 'dma-mask': '0xFFFFFFFFFFFFFFFF' };

    expect(parseProperties('edu', TABLE, given)).toEqual({ 'dma-latency-ms': 0.5, 'dma-mask': 2n ** 64n - 1n });
  });

  it.each([
    [{ speed: '1' }, "edu: unknown property 'speed' (known: dma-latency-ms, dma-mask)"],
    [{ toString: '1' }, "edu: unknown property 'toString' (known: dma-latency-ms, dma-mask)"],
    [{ 'dma-latency-ms': 'fast' }, 'edu: dma-latency-ms=fast: expected milliseconds from 0 to 3600000'],
    [{ 'dma-latency-ms': '-1' }, 'edu: dma-latency-ms=-1: expected milliseconds from 0 to 3600000'],
    [{ 'dma-mask': '0x10000000000000000' }, 'edu: dma-mask=0x10000000000000000: expected an unsigned 64-bit number'],
    [{ 'dma-mask': '' }, 'edu: dma-mask=: expected an unsigned 64-bit number'],
  ] as const)('EINVAL in one line that names device and property: %j', (given, message) => {
    expect(refusal(given as unknown as Record<string, string>)).toEqual({ code: 'EINVAL', message });
  });

  it('a device without properties says so', () => {
    expect(() => parseProperties('capture', {}, { rate: '5' })).toThrow(
      "capture: unknown property 'rate' (it has none)",
    );
  });
});
