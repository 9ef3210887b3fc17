import { describe, expect, it } from 'vitest';

import { PROFILE_NAMES, profileOf } from '../../../../iommu/kernel/core/profile.ts';

describe('profiles', () => {
  it.each(PROFILE_NAMES)('%s says what it is called', (name) => {
    expect(profileOf(name).name).toBe(name);
  });

  it.each([['6.1'], [''], ['toString'], ['constructor']])('refuses %j and names those there are', (name) => {
    expect(() => profileOf(name)).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('5.12, 6.2, 6.12, 7.2') }),
    );
  });
});
