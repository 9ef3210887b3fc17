/**
 * Differences from the recordings that are intended. docs/vfio.md explains each of them, and this
 * is the only list.
 */
import type { VectorCase, VectorFile, VectorStep } from './vector-file.ts';

export interface Deviation {
  /** Group and case of the vectors; RegExps match the whole name. */
  readonly group: string;
  readonly case: RegExp;
  /** The text of the step in the file, and our answer to it. */
  readonly step: RegExp;
  readonly got: RegExp;
  /** The rule's id in docs/rules/vfio.md. */
  readonly rule: string;
  readonly reason: string;
}

export const DEVIATIONS: readonly Deviation[] = [
  {
    group: 'group',
    case: /^set-container-fds$/,
    step: /^set_container /,
    got: /^-EBADFD$/,
    rule: 'CORE-4',
    reason: 'recorded on a rebuilt 6.1, where iommufd had not come yet',
  },
  {
    group: 'emu',
    case: /^v[13]-pin-/,
    step: /^emu_unpin \w+ \w+ 0$/,
    got: /^-ENOENT$/,
    rule: 'MDV-4',
    reason: 'the recorder kept what an earlier case had pinned in free slots of its module',
  },
];

/** VFIO_REGION_INFO_FLAG_MMAP in the fifth byte of a struct vfio_region_info, as hex. */
const OUT = /^(0 out=.{8})(.)(.)(.*)$/;
const MMAP = 4;

/** _IOC_TYPE of an ioctl number, and that of VFIO. */
const IOC_TYPE = 0xff00;
const VFIO_TYPE = ';'.charCodeAt(0) << 8;

/**
 * Under a supervisor (`--through-syscalls`) registers have no mmap flag, and a number that is not
 * VFIO's never reaches it. Undefined for any other difference.
 */
export function supervisedDeviation({ op, args, expected }: VectorStep, got: string): Deviation | undefined {
  if (op === 'ioctl' && (Number(args[1]) & IOC_TYPE) !== VFIO_TYPE && got.startsWith('-')) return NOT_TRAPPED;
  const without = expected.replace(OUT, (whole, start: string, high: string, low: string, rest: string) => {
    const flags = Number.parseInt(low, 16);
    return (flags & MMAP) === 0 ? whole : `${start}${high}${flags - MMAP}${rest}`;
  });
  return op === 'region_info' && got === without ? SUPERVISED : undefined;
}

const NOT_TRAPPED: Deviation = {
  group: 'container',
  case: /./,
  step: /^ioctl /,
  got: /^-/,
  rule: 'CORE-1',
  reason: 'Linux answers ioctls that are none of VFIO’s: the fd is a socket or a file in memory',
};

const SUPERVISED: Deviation = {
  group: 'device-info',
  case: /./,
  step: /^region_info /,
  got: /^0 out=/,
  rule: 'PCI-1',
  reason: 'a supervisor maps no registers',
};

export function acceptedDeviation(
  { group }: VectorFile,
  { name }: VectorCase,
  { text }: VectorStep,
  got: string,
): Deviation | undefined {
  return DEVIATIONS.find(
    (one) => one.group === group && one.case.test(name) && one.step.test(text) && one.got.test(got),
  );
}
