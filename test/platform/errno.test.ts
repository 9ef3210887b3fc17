import { describe, expect, it } from 'vitest';

import { codeOf, errnoName, errnoNumber, fromErrno, SysError } from '../../platform/errno.ts';
import { hexRange } from '../../platform/hex.ts';

describe('errnos', () => {
  it('have names and numbers', () => {
    expect([errnoName(22), errnoNumber('EINVAL'), errnoName(524)]).toEqual(['EINVAL', 22, 'ENOTSUPP']);
    expect(() => errnoNumber('ENOTHING')).toThrow(RangeError);
  });

  it('have a code, as those of Node have, and what is no error has none', () => {
    const found = [new SysError('EPERM', 'no'), Object.assign(new Error('no'), { code: 'ENOENT' }), new Error('no'), 5];

    expect(found.map(codeOf)).toEqual(['EPERM', 'ENOENT', undefined, undefined]);
  });

  it('come as SysError that says what failed', () => {
    const error = fromErrno(13, 'open x');

    expect(error).toBeInstanceOf(SysError);
    expect([error.code, error.errno, error.message]).toEqual(['EACCES', 13, 'open x: EACCES']);
  });

  it('are printed with ranges as start+size', () => {
    expect(hexRange(0x1000n, 0x2000)).toBe('0x1000+0x2000');
  });
});
