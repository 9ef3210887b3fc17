import { describe, expect, it } from 'vitest';

import { planUnits } from '../../../devices/board/iommu-units.ts';

describe('IOMMU units', () => {
  it('are what the recorded kernels had unless told otherwise', () => {
    expect(planUnits([{ name: 'iommu0', properties: {} }])).toEqual([
      {
        description: {
          name: 'iommu0',
          coherent: false,
          minPgshift: 12,
          maxPgshift: 30,
          apertureBits: 39,
          isolatedMsi: true,
          donatedMsi: false,
        },
        msiFlat: true,
      },
    ]);
  });

  it('differ in coherency, page sizes, aperture, MSIs and their remapping', () => {
    const properties = {
      coherent: 'on',
      pgsize: '2M',
      'max-pgsize': '2M',
      'aperture-bits': '48',
      msi: 'translated',
      intremap: 'off',
    };
    expect(planUnits([{ name: 'arm', properties }])).toEqual([
      {
        description: {
          name: 'arm',
          coherent: true,
          minPgshift: 21,
          maxPgshift: 21,
          apertureBits: 48,
          isolatedMsi: false,
          donatedMsi: false,
        },
        msiFlat: false,
      },
    ]);
  });

  it.each([
    [{ pgsize: '8K' }, 'iommu a: pgsize=8K: expected 4K or 2M or 1G'],
    [{ 'max-pgsize': '4k' }, 'iommu a: max-pgsize=4k: expected 4K or 2M or 1G'],
    [{ pgsize: '1G', 'max-pgsize': '2M' }, 'iommu a: pgsize=1G: more than max-pgsize'],
    [{ 'aperture-bits': '49' }, 'iommu a: aperture-bits=49: expected a number from 30 to 48'],
    [{ 'aperture-bits': '0x20' }, 'iommu a: aperture-bits=0x20: expected a number from 30 to 48'],
    [{ coherent: 'yes' }, 'iommu a: coherent=yes: expected on or off'],
    [{ msi: 'none' }, 'iommu a: msi=none: expected flat or translated or donated'],
  ])('refuses %j with EINVAL in one line', (properties, message) => {
    expect(() => planUnits([{ name: 'a', properties: { ...properties } }])).toThrow(
      expect.objectContaining({ code: 'EINVAL', message }),
    );
  });

  it('refuses two of one name', () => {
    const unit = { name: 'a', properties: {} };
    expect(() => planUnits([unit, unit])).toThrow(/^iommu a: there are two/);
  });
});
