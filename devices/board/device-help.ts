/**
 * Describes the board's device types before there is a board: `livevmm host --device NAME,help`.
 */
import type { AccessRules } from '../kit/bar-access.ts';
import type { Defect } from '../kit/control.ts';
import type { BackendKind, Bar } from '../kit/device.ts';
import { barsOf } from '../kit/function-properties.ts';
import { parseProperties } from '../kit/properties.ts';
import { type Access, countOf, type Register, type RegisterMap, widthOf } from '../kit/registers.ts';
import { MODELS, modelOf } from './device-types.ts';

export interface PropertyHelp {
  readonly name: string;
  readonly default: string;
  readonly expected: string;
  readonly what: string;
}

export interface RegisterHelp {
  readonly name: string;
  /** Offset in the BAR. */
  readonly at: number;
  /** Bytes of the largest access. */
  readonly width: number;
  /** The number of such registers in a row. */
  readonly count: number;
  readonly access: Access;
  /** Null for one that cannot be read. */
  readonly reset: number | null;
  readonly what: string;
}

export interface BarHelp {
  readonly index: number;
  readonly kind: 'registers' | 'ports' | 'ram';
  readonly size: number;
  /** Null for memory. */
  readonly access: AccessRules | null;
  /** The value of a read where there is no register. */
  readonly absent: RegisterMap['absent'];
  readonly registers: readonly RegisterHelp[];
}

export interface DeviceHelp {
  readonly name: string;
  readonly summary: string;
  readonly vendor: number;
  readonly device: number;
  readonly classCode: number;
  readonly msi: boolean;
  /** 0 none, 1 INTA … 4 INTD. */
  readonly interruptPin: number;
  /** True if no IOMMU is in front of the device. */
  readonly mediated: boolean;
  /** The property that names its backend, and the option that does; null: it has none. */
  readonly backend: BackendKind | null;
  readonly properties: readonly PropertyHelp[];
  readonly bars: readonly BarHelp[];
  readonly defects: readonly Defect[];
}

/** All device types. */
export function deviceSummaries(): { readonly name: string; readonly summary: string }[] {
  return MODELS.map(({ type: { name, summary } }) => ({ name, summary }));
}

/**
 * One type, with the BARs that it has with these properties. EINVAL for an unknown type or
 * property.
 */
export function describeDeviceType(name: string, properties: Readonly<Record<string, string>>): DeviceHelp {
  const { type } = modelOf(name);
  const { vendor, device, classCode, interruptPin } = type.identity;
  return {
    ...{ name, summary: type.summary, vendor, device, classCode, interruptPin },
    msi: type.msi,
    mediated: type.mediated ?? false,
    backend: type.backend ?? null,
    properties: Object.entries(type.properties).map(([property, { defaultText, expected, what }]) => {
      return { name: property, default: defaultText, expected, what };
    }),
    bars: barsOf(type, parseProperties(name, type.properties, properties)).map(describeBar),
    defects: type.defects,
  };
}

function describeBar(bar: Bar): BarHelp {
  const { index, size, space } = bar;
  if (bar.kind === 'ram') return { index, kind: 'ram', size, access: null, absent: 'zeros', registers: [] };
  const { absent, registers } = bar.registers ?? { absent: 'zeros', registers: {} };
  return {
    index,
    kind: space === 'io' ? 'ports' : 'registers',
    size,
    access: bar.access,
    absent,
    registers: Object.entries(registers).map(([name, register]) => describeRegister(name, register)),
  };
}

function describeRegister(name: string, register: Register): RegisterHelp {
  const { at, access, what } = register;
  const locked = 'locked' in register && register.locked !== undefined ? `; not written ${register.locked}` : '';
  return {
    ...{ name, at, access },
    width: widthOf(register),
    count: countOf(register),
    reset: 'reset' in register ? register.reset : null,
    what: `${what}${locked}`,
  };
}
