/** `--memlock as-process|unlimited|SIZE`: how much memory a client of a host may lock. */
import type { Memlock } from '../../iommu/abi/control.ts';
import { parseSize } from './size-option.ts';

export const MEMLOCK_HELP = `  --memlock LIMIT        what a client may lock: as-process, as its own RLIMIT_MEMLOCK says; unlimited; or a size, e.g. 64M
`;

/** UsageError for anything else. A size without a suffix is in bytes. */
export function parseMemlock(text: string): Memlock {
  if (text === 'as-process' || text === 'unlimited') return text;
  return parseSize('memlock', text, 'as-process, unlimited or a size such as 64M');
}
