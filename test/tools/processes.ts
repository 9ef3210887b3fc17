/** What a process has started, as /proc shows it, and whether it is still there. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Seen {
  readonly pid: number;
  readonly parent: number;
  /** Tells it from a later process of the same number. */
  readonly startTime: string;
  readonly command: string;
}

/** undefined for one that has ended, if somebody has still to take note of it. */
function look(pid: number): Seen | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, parent: Number(fields[1]), startTime: fields[19]!, command };
  } catch {
    return undefined; // it is gone
  }
}

/** Its children, and theirs, whatever session they are in. */
export function descendantsOf(pid: number): Seen[] {
  const all = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (look(Number(name)) ?? []) : []));
  const below = (parent: number): Seen[] =>
    all.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return below(pid);
}

/** Those of them that have not ended. */
export const stillThere = (processes: readonly Seen[]): Seen[] =>
  processes.filter(({ pid, startTime }) => look(pid)?.startTime === startTime);
