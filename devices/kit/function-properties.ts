/** Properties of a PCI function that have nothing to do with what is behind it. */
import type { Identity } from './config-space.ts';
import type { Defect } from './control.ts';
import type { Bar, DeviceType, RegisterBar } from './device.ts';
import { MAX_MSIX_VECTORS, MSIX_BAR, MSIX_BAR_BYTES } from './msix.ts';
import { integer, onOff, type PropertyTable, type PropertyValues, path } from './properties.ts';
import { readRom } from './rom.ts';

/** For the property table of a device type. */
export const FUNCTION_PROPERTIES = {
  flr: onOff(false, 'it can be reset by itself (function-level reset, Advanced Features capability)'),
  intx: onOff(true, 'it has an INTx pin; off: as a virtual function'),
  pcie: onOff(false, 'it is a PCI Express function: extended configuration space, error reporting'),
  romfile: path('a file with the expansion ROM of the function'),
  msix: integer(0, { from: 0, to: MAX_MSIX_VECTORS }, 'MSI-X vectors, their table in BAR 1; 0: it has no MSI-X'),
};

/** Values of the properties of any device type. */
type Values = Readonly<Record<string, unknown>>;

/** The identity of a function with these properties. */
export const identityOf = (identity: Identity, { intx }: Values): Identity =>
  intx === false ? { ...identity, interruptPin: 0 } : identity;

export const isPcie = ({ pcie }: Values): boolean => pcie === true;

/** The defects that a device with these properties can be asked for. */
export const defectsOf = ({ defects }: DeviceType, values: Values): readonly Defect[] =>
  isPcie(values) ? [...defects, 'uncorrectable-error'] : defects;

export const hasFlr = ({ flr }: Values): boolean => flr === true;

const MSIX_REGISTERS: RegisterBar = {
  kind: 'registers',
  index: MSIX_BAR,
  space: 'memory',
  size: MSIX_BAR_BYTES,
  width: 32,
  prefetchable: false,
  access: { min: 4, max: 4, odd: 'split', small: 'refuse' },
};

/** The bytes of its expansion ROM; undefined for a function without. EINVAL: it cannot be read. */
export const romOf = ({ romfile }: Values): Uint8Array | undefined =>
  typeof romfile === 'string' ? readRom(romfile) : undefined;

/** 0 for a function without MSI-X. */
export const msixVectorsOf = ({ msix }: Values): number => (typeof msix === 'number' ? msix : 0);

/** The BARs of a function with these properties: those of its device, and the one of MSI-X. */
export const barsOf = (type: DeviceType, values: PropertyValues<PropertyTable>): readonly Bar[] =>
  msixVectorsOf(values) === 0 ? type.bars(values) : [...type.bars(values), MSIX_REGISTERS];
