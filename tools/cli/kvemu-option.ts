/**
 * `--device kvemu[,group=N]`: no device of the board, but one of a module in the host's kernel, on
 * no bus and in a group of its own.
 */
import { UsageError } from './command.ts';
import type { DeviceOption } from './device-option.ts';

export interface SeparatedDevices {
  readonly devices: readonly DeviceOption[];
  readonly kvemuGroups: readonly number[];
}

/**
 * Those of the board, and the groups of the others: counted on after the board's, which begin with
 * `firstGroup`.
 */
export function separateKvemu(options: readonly DeviceOption[], firstGroup: number): SeparatedDevices {
  const devices = options.filter(({ type }) => type !== 'kvemu');
  const kvemu = options.filter(({ type }) => type === 'kvemu');
  return { devices, kvemuGroups: kvemu.map((option, i) => groupOf(option) ?? firstGroup + devices.length + i) };
}

function groupOf({ properties: { group, ...others } }: DeviceOption): number | undefined {
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw new UsageError(`--device kvemu: no property '${unknown}'`);
  if (group === undefined) return undefined;
  if (!/^\d{1,9}$/.test(group)) throw new UsageError(`--device kvemu: group=${group}: expected a number`);
  return Number(group);
}
