import { describe, expect, it } from 'vitest';

import { supervisedDeviation } from '../../../tools/conform/deviations.ts';
import { parseVectors } from '../../../tools/conform/vector-file.ts';

const stepWith = (step: string, expected: string) =>
  parseVectors(`case one\n> ${step}\n< ${expected}\nend\n`, 'made-up.vec').cases[0]!.steps[0]!;
const REGION = 'region_info d1 argsz=32 index=0x0';

describe('under a supervisor', () => {
  it('registers have no mmap flag', () => {
    const step = stepWith(REGION, '0 out=2000000007000000eeee');
    expect(supervisedDeviation(step, '0 out=2000000003000000eeee')).toMatchObject({ rule: 'PCI-1' });
  });

  it('a number that is none of VFIO’s is an ioctl of what the fd is', () => {
    expect(supervisedDeviation(stepWith('ioctl c1 0x541b 0', '-ENOTTY'), '-EFAULT')).toMatchObject({ rule: 'CORE-1' });
  });

  it.each([
    ['ioctl c1 0x3b99 0', '-ENOTTY', '-EFAULT'],
    ['ioctl c1 0x5401 0', '-ENOTTY', '0'],
    [REGION, '0 out=2000000007000000eeee', '0 out=2000000003000000eeef'],
    [REGION, '0 out=2000000007000000eeee', '0 out=2000000001000000eeee'],
    [REGION, '0 out=2000000003000000eeee', '0 out=2000000007000000eeee'],
    [REGION, '0 out=2000000007000000', '-EINVAL'],
    ['dev_info d1', '0 out=2000000007000000eeee', '0 out=2000000003000000eeee'],
  ])('no other difference is accepted: %s %s %s', (step, expected, got) => {
    expect(supervisedDeviation(stepWith(step, expected), got)).toBeUndefined();
  });
});
