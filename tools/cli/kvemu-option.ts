/**
 * `--device kvemu[,group=N]`: a device of a module in the host's kernel. It is not on the board, on
 * no bus, and in a group of its own.
 */
import { UsageError } from './command.ts';
import type { DeviceOption } from './device-option.ts';

export interface SeparatedDevices {
  readonly devices: readonly DeviceOption[];
  readonly kvemuGroups: readonly number[];
}

/**
 * Splits options into the board's devices and the groups of the kvemu devices. A kvemu group
 * without a number is counted on after the board's groups, which begin with `firstGroup`.
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
