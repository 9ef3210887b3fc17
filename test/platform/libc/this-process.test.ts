import { describe, expect, it } from 'vitest';

import { execve } from '../../../platform/libc/this-process.ts';
import { code } from './code.ts';

describe('execve', () => {
  it.each([
    { path: '/nonexistent', error: 'ENOENT' },
    { path: '/etc/passwd', error: 'EACCES' },
    { path: '/', error: 'EACCES' },
  ])('of $path fails with $error and changes nothing', ({ path, error }) => {
    expect(() => execve(path, ['x'], {})).toThrow(code(error));
  });
});
