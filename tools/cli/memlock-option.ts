/** `--memlock as-process|unlimited|SIZE`: how much memory a client of a host may lock. */
import type { Memlock } from '../../iommu/abi/control.ts';
import { UsageError } from './command.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

export const MEMLOCK_HELP = `  --memlock LIMIT        what a client may lock: as-process, as its own RLIMIT_MEMLOCK says; unlimited; or a size, e.g. 64M
`;

/** UsageError for anything else. A size without a suffix is in bytes. */
export function parseMemlock(text: string): Memlock {
  if (text === 'as-process' || text === 'unlimited') return text;
  const match = /^(\d{1,15})([KMGT]?)$/i.exec(text);
  if (!match) throw new UsageError(`--memlock: as-process, unlimited or a size such as 64M, not '${text}'`);
  return Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
}
