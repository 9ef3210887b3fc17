/** Properties of a PCI function that have nothing to do with what is behind it. */
import type { Identity } from './config-space.ts';
import { onOff } from './properties.ts';

/** For the property table of a device type. */
export const FUNCTION_PROPERTIES = {
  flr: onOff(false, 'it can be reset by itself (function-level reset, Advanced Features capability)'),
  intx: onOff(true, 'it has an INTx pin; off: as a virtual function'),
};

/** Values of the properties of any device type. */
type Values = Readonly<Record<string, unknown>>;

/** The identity of a function with these properties. */
export const identityOf = (identity: Identity, { intx }: Values): Identity =>
  intx === false ? { ...identity, interruptPin: 0 } : identity;

export const hasFlr = ({ flr }: Values): boolean => flr === true;
