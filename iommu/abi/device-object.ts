/**
 * A PCI device as one memory object: its regions lie in a sparse memfd, far above the offsets of
 * other files. A fd of this object is a device fd whose RAM BARs Linux itself maps, and a system
 * call with such an offset shows from its number alone whose call it is (tools/with/filter). All
 * offsets are below 2^53. Ranges are [start, end).
 */
import { VFIO_PCI_OFFSET_SHIFT } from './vfio.ts';

/** Offsets of regions, cut into units of 2^44 bytes: RAM BARs are in the first, others behind. */
const UNIT_SHIFT = 44;
const FIRST_UNIT = 0x1a0;
const UNITS = 2;
const UNIT_BYTES = 2 ** UNIT_SHIFT;
const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;
const OBJECT_START = FIRST_UNIT * UNIT_BYTES;
const OBJECT_END = OBJECT_START + UNITS * UNIT_BYTES;

/** How a filter that sees the upper 32 bits of an offset knows one of a region. */
export const REGION_OFFSETS = {
  mask: -(UNITS << (UNIT_SHIFT - 32)),
  value: FIRST_UNIT << (UNIT_SHIFT - 32),
} as const;

/**
 * The same for offsets that vfio-pci itself gives, region number << 40, which some programs use
 * without asking. The upper 32 bits of such an offset have some bit of `any` and no bit of `none`.
 * Region 0 is not among them: its offsets are those of any file.
 */
export const PLAIN_OFFSETS = { none: 0xffff_f000, any: 0xf00 } as const;

/**
 * The start of region `index` in the object. The object ends with the last RAM BAR: it has no bytes
 * for other regions, so an access to a mapping of them is SIGBUS.
 */
export const placeInObject = (index: number, isRam: boolean): number =>
  OBJECT_START + (isRam ? 0 : UNIT_BYTES) + index * REGION_BYTES;

/** The place of an offset that VFIO_DEVICE_GET_REGION_INFO has given. */
export function offsetInObject(offset: bigint, isRam: boolean): bigint {
  return offset + BigInt(placeInObject(0, isRam));
}

/** The offset that VFIO knows; one that is no place in an object is passed through. */
export function offsetOfPlace(place: bigint): bigint {
  const isPlace = place >= BigInt(OBJECT_START) && place < BigInt(OBJECT_END);
  return isPlace ? place % BigInt(UNIT_BYTES) : place;
}
