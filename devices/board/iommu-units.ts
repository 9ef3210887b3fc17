/** The IOMMU units of a board: plans them from the options, and builds them. */
import type { BoardUnit, Pgshift, UnitDescription } from '../../iommu/hardware/unit-description.ts';
import { createUnit } from '../../iommu/hardware/unit-memory.ts';
import { einval } from '../../platform/errno.ts';
import { choice, integer, onOff, parseProperties } from '../kit/properties.ts';

export interface IommuOptions {
  /** The name by which devices say that they are behind the unit. */
  readonly name: string;
  readonly properties: Readonly<Record<string, string>>;
}

export interface PlannedUnit {
  readonly description: UnitDescription;
  /** True for MSI page tables and a fixed window. False: MSIs are translated as any other store. */
  readonly msiFlat: boolean;
}

const PGSHIFT: Readonly<Record<string, Pgshift>> = { '4K': 12, '2M': 21, '1G': 30 };
const PROPERTIES = {
  coherent: onOff(false, "whether its devices cannot bypass the CPU's caches"),
  pgsize: choice('4K', ['4K', '2M', '1G'], 'smallest page'),
  'max-pgsize': choice('1G', ['4K', '2M', '1G'], 'largest page'),
  'aperture-bits': integer(39, { from: 30, to: 48 }, 'bits of an iova'),
  msi: choice(
    'flat',
    ['flat', 'translated', 'donated'],
    'a window of its own for MSIs, or translated as any store, or so where a user says',
  ),
  intremap: onOff(true, 'whether a device can raise only its own interrupts'),
} as const;

/** The default: one unit, like the one of the recorded kernels. */
export const DEFAULT_UNITS: readonly IommuOptions[] = [{ name: 'iommu0', properties: {} }];

/** Checks the options of the units. EINVAL for a unit that cannot be built. */
export function planUnits(units: readonly IommuOptions[]): PlannedUnit[] {
  const names = new Set<string>();
  return units.map(({ name, properties }) => {
    if (names.has(name)) throw einval(`iommu ${name}: there are two of that name`);
    names.add(name);
    return planUnit(name, properties);
  });
}

function planUnit(name: string, properties: Readonly<Record<string, string>>): PlannedUnit {
  const values = parseProperties(`iommu ${name}`, PROPERTIES, properties);
  const minPgshift = PGSHIFT[values.pgsize]!;
  const maxPgshift = PGSHIFT[values['max-pgsize']]!;
  if (minPgshift > maxPgshift) throw einval(`iommu ${name}: pgsize=${values.pgsize}: more than max-pgsize`);
  const { coherent, msi, intremap: isolatedMsi, 'aperture-bits': apertureBits } = values;
  const donatedMsi = msi === 'donated';
  // A doorbell has 4 KiB.
  if (donatedMsi && minPgshift !== 12) throw einval(`iommu ${name}: msi=donated: only with pgsize=4K`);
  return {
    description: { name, coherent, minPgshift, maxPgshift, apertureBits, isolatedMsi, donatedMsi },
    msiFlat: msi === 'flat',
  };
}

/** Builds a unit with `agents` devices behind it. */
export const buildUnit = ({ description, msiFlat }: PlannedUnit, agents: number): BoardUnit => ({
  description,
  memory: createUnit({ agents, msiFlat, writeOnlyLeaves: true }),
});
