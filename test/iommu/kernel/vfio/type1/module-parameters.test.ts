import { describe, expect, it } from 'vitest';
import { type ProfileName, profileOf } from '../../../../../iommu/kernel/core/profile.ts';
import { moduleParameter, parseBool, parseUint } from '../../../../../iommu/kernel/vfio/type1/module-parameters.ts';
import { DEFAULT_PARAMETERS } from '../../../../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { SysError } from '../../../../../platform/errno.ts';

/** What a call returns, or its errno. */
function outcome<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/** What is written to a parameter's file, as a new module has it afterwards. */
function written(name: string, text: string): unknown {
  const parameters = { ...DEFAULT_PARAMETERS };
  return outcome(() => {
    moduleParameter(parameters, name, profileOf('6.12'))(text);
    return parameters;
  });
}

describe('numbers (kstrtouint)', () => {
  it.each([
    ['0', 0],
    ['65535', 65535],
    ['4294967295', 4294967295],
    ['4294967295\n', 4294967295],
    ['+5', 5],
    ['0x1f', 31],
    ['0XfF\n', 255],
    ['+0x10', 16],
    ['017', 15],
    ['00', 0],
    ['0x00000000000000000000000000000001', 1],
  ])('%j is %i', (text, expected) => {
    expect(parseUint(text)).toBe(expected);
  });

  it.each([
    ['4294967296', 'ERANGE'],
    ['0x100000000', 'ERANGE'],
    ['18446744073709551616', 'ERANGE'],
    ['18446744073709551616 and more', 'ERANGE'], // before the rest is looked at
    ['4294967296 and more', 'EINVAL'],
    ['-1', 'EINVAL'],
    ['++1', 'EINVAL'],
    [' 1', 'EINVAL'],
    ['1 ', 'EINVAL'],
    ['1\n\n', 'EINVAL'],
    ['\n', 'EINVAL'],
    ['', 'EINVAL'],
    ['+', 'EINVAL'],
    ['0x', 'EINVAL'],
    ['0xg', 'EINVAL'],
    ['08', 'EINVAL'],
    ['1e3', 'EINVAL'],
    ['Y', 'EINVAL'],
  ])('%j is %s', (text, expected) => {
    expect(outcome(() => parseUint(text))).toBe(expected);
  });
});

describe('switches (kstrtobool)', () => {
  it.each<[ProfileName, string, readonly unknown[]]>([
    ['5.12', 'y Y 1 yes on oN On\n N n 0 off oFf no 0x1', [...Array(7).fill(true), ...Array(7).fill(false)]],
    ['5.12', '2 t f e d o oops -1 \n', Array(9).fill('EINVAL')],
    ['6.12', 't True f F e d', [true, true, false, false, 'EINVAL', 'EINVAL']],
    ['7.2', 't F e Enabled d D 2', [true, false, true, true, false, false, 'EINVAL']],
  ])('as of %s: %j', (profile, words, expected) => {
    expect(words.split(' ').map((word) => outcome(() => parseBool(word, profileOf(profile))))).toEqual(expected);
  });
});

describe('the files of the parameters (NUM-9)', () => {
  it.each([
    ['dma_entry_limit', '0x10', { ...DEFAULT_PARAMETERS, dmaEntryLimit: 16 }],
    ['dma_entry_limit', '7\0garbage', { ...DEFAULT_PARAMETERS, dmaEntryLimit: 7 }],
    ['dma_entry_limit', '', DEFAULT_PARAMETERS],
    ['dma_entry_limit', 'Y', 'EINVAL'],
    ['allow_unsafe_interrupts', 'Y\n', { ...DEFAULT_PARAMETERS, allowUnsafeInterrupts: true }],
    ['disable_hugepages', '1', { ...DEFAULT_PARAMETERS, disableHugepages: true }],
    ['disable_hugepages', '2', 'EINVAL'],
    ['nosuch', '1', 'ENOENT'],
  ])('%s takes %j', (name, text, expected) => {
    expect(written(name, text)).toEqual(expected);
  });
});
