/** `--name SIZE`: a number of bytes, e.g. 64M. */
import { UsageError } from './command.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** UsageError for anything else. `expected` says what the option takes. */
export function parseSize(name: string, text: string, expected = 'a size such as 64M'): number {
  const match = /^(\d{1,15})([KMGT]?)$/i.exec(text);
  if (!match) throw new UsageError(`--${name}: ${expected}, not '${text}'`);
  return Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
}
