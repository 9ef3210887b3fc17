import { describe, expect, it } from 'vitest';

import { UsageError } from '../../../tools/cli/command.ts';
import { parseIommuOption, unitsOf } from '../../../tools/cli/iommu-option.ts';

describe('--iommu', () => {
  it('is a name with properties', () => {
    expect(parseIommuOption('smmu,coherent=on,aperture-bits=48')).toEqual({
      name: 'smmu',
      properties: { coherent: 'on', 'aperture-bits': '48' },
    });
  });

  it.each([
    ['', "--iommu '': expected name"],
    ['coherent=on', 'expected name'],
    ['a,coherent', "--iommu a: 'coherent' is not key=value"],
  ])('refuses %j', (text, message) => {
    expect(() => parseIommuOption(text)).toThrow(UsageError);
    expect(() => parseIommuOption(text)).toThrow(message);
  });

  it('leaves the board its own unit when it is not given', () => {
    expect(unitsOf([])).toEqual({});
    expect(unitsOf(['a'])).toEqual({ units: [{ name: 'a', properties: {} }] });
  });
});
