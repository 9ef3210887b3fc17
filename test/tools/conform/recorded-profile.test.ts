import { describe, expect, it } from 'vitest';

import { recordedProfile } from '../../../tools/commands/conform.ts';

describe('which profile stands for a recording', () => {
  it.each([
    ['a/6.12.107/map.vec', '6.12.107+deb13-amd64 #1', '6.12'],
    ['a/7.2.13/map.vec.gz', '7.2.13+deb14-amd64', '7.2'],
    ['a/map.vec', '5.15.0 #1', '5.12'],
    ['a/6.1-blocking-mmtest/map.vec.gz', '6.1.176', '5.12'],
    ['6.1-blocking/map.vec', '6.1.176', '6.2'],
  ])('%s of kernel %s: %s', (path, uname, profile) => {
    expect(recordedProfile({ path, uname })).toBe(profile);
  });

  it.each(['6.1.176', '6.2.16', '5.11.0', '8.0.0'])('none for %s, whose stable updates are another matter', (uname) => {
    expect(() => recordedProfile({ path: 'a/map.vec', uname })).toThrow('no profile stands for kernel');
  });
});
