/**
 * The parameters of the module vfio_iommu_type1. They are set as by a write(2) to
 * /sys/module/vfio_iommu_type1/parameters/NAME: the value is text, read as the kernel reads it
 * (kernel/params.c, lib/kstrtox.c).
 */
import { einval, enoent, erange } from '../../../../platform/errno.ts';
import type { Profile } from '../../core/profile.ts';
import { U64_END } from '../../core/user-arg.ts';
import type { Type1Parameters } from './vfio-iommu.ts';

const UINT_MAX = 0xffff_ffffn;

/**
 * Returns the write(2) to the parameter's file. Throws ENOENT when no parameter has that name. The
 * write throws EINVAL or ERANGE for a text that is no value. A write of no text changes nothing.
 */
export function moduleParameter(parameters: Type1Parameters, name: string, profile: Profile): (text: string) => void {
  const set = setterOf(parameters, name, profile);
  return (text) => {
    const [value = ''] = text.split('\0'); // sysfs hands on a C string
    if (text !== '') set(value);
  };
}

function setterOf(parameters: Type1Parameters, name: string, profile: Profile): (value: string) => void {
  switch (name) {
    case 'dma_entry_limit':
      return (value) => {
        parameters.dmaEntryLimit = parseUint(value);
      };
    case 'allow_unsafe_interrupts':
      return (value) => {
        parameters.allowUnsafeInterrupts = parseBool(value, profile);
      };
    case 'disable_hugepages':
      return (value) => {
        parameters.disableHugepages = parseBool(value, profile);
      };
  }
  throw enoent(`vfio_iommu_type1 has no parameter ${name}`);
}

const DIGITS: Readonly<Record<string, RegExp>> = { '0x': /^[0-9a-f]*/i, '0o': /^[0-7]*/, '': /^\d*/ };

/**
 * kstrtouint with base 0: an optional `+`, then hexadecimal digits after 0x, octal after 0, else
 * decimal. One newline may follow. A number of more than 64 bits is ERANGE whatever comes behind
 * it; one of more than 32 bits only when nothing comes behind it.
 */
export function parseUint(text: string): number {
  const number = text.startsWith('+') ? text.slice(1) : text;
  const isHex = /^0x[0-9a-f]/i.test(number);
  const prefix = isHex ? '0x' : number.startsWith('0') ? '0o' : '';
  const rest = isHex ? number.slice(2) : number;
  const digits = DIGITS[prefix]!.exec(rest)![0];
  if (digits === '') throw einval(`${JSON.stringify(text)} is no number`);
  const value = BigInt(`${prefix}${digits}`);
  if (value >= U64_END) throw erange(`${JSON.stringify(text)} has more than 64 bits`);
  if (!/^\n?$/.test(rest.slice(digits.length))) throw einval(`${JSON.stringify(text)} is no number`);
  if (value > UINT_MAX) throw erange(`${JSON.stringify(text)} has more than 32 bits`);
  return Number(value);
}

/** The letters that count besides y, 1 and on for true, and n, 0 and off for false. */
const TRUE_LETTERS = { 'yes-no': '', 'true-false': 't', 'enabled-disabled': 'te' } as const;
const FALSE_LETTERS = { 'yes-no': '', 'true-false': 'f', 'enabled-disabled': 'fd' } as const;

/**
 * kstrtobool: the first letter decides, or the first two for on and off. The rest of the text may
 * be anything.
 */
export function parseBool(text: string, { booleans }: Profile): boolean {
  const word = text.slice(0, 2).toLowerCase();
  const letter = word.slice(0, 1);
  if (letter !== '' && (`y1${TRUE_LETTERS[booleans]}`.includes(letter) || word === 'on')) return true;
  if (letter !== '' && (`n0${FALSE_LETTERS[booleans]}`.includes(letter) || word === 'of')) return false;
  throw einval(`${JSON.stringify(text)} is neither yes nor no`);
}
