/** The command line of a VMM that goes on with a guest in pkernfs. */
import { parseArgs } from 'node:util';

import { einval } from '../../../platform/errno.ts';
import type { VmOptions } from '../../vm/vm-state.ts';

export const RESTORE = '--restore';

/** CLOCK_MONOTONIC: the guest's last instruction, and the end of the old kernel. */
export interface KexecTimes {
  readonly pausedNs: number;
  readonly downNs: number;
}

export interface Restoring {
  readonly name: string;
  readonly host: string;
  readonly qmp?: string;
  readonly lifeline?: number;
  readonly times?: KexecTimes;
}

export function restoreArgs({ pkernfs, host, qmp, lifeline }: VmOptions, { pausedNs, downNs }: KexecTimes): string[] {
  return [
    ...[RESTORE, pkernfs!, '--host', host!],
    ...(qmp === undefined ? [] : ['--qmp', qmp]),
    ...(lifeline === undefined ? [] : ['--lifeline', String(lifeline)]),
    ...['--paused', String(pausedNs), '--down', String(downNs)],
  ];
}

/** Undefined: another command line. EINVAL: not a good one. */
export function parseRestoring(args: readonly string[]): Restoring | undefined {
  if (!args.includes(RESTORE)) return undefined;
  let values: Readonly<Record<string, string | undefined>>;
  try {
    const string = { type: 'string' } as const;
    const options = { restore: string, host: string, qmp: string, lifeline: string, paused: string, down: string };
    values = parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw einval((error as Error).message);
  }
  const { restore: name, host, qmp, lifeline, paused, down } = values;
  if (name === undefined || host === undefined) throw einval(`${RESTORE} NAME needs --host SOCKET`);
  const times =
    paused === undefined || down === undefined ? undefined : { pausedNs: Number(paused), downNs: Number(down) };
  return {
    ...{ name, host },
    ...(qmp === undefined ? {} : { qmp }),
    ...(lifeline === undefined ? {} : { lifeline: Number(lifeline) }),
    ...(times ? { times } : {}),
  };
}
