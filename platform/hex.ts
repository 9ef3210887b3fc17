/** Numbers as messages print them. */

/** `0x1000`. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** `0x1000+0x2000`: a range (start+size). */
export const hexRange = (start: number | bigint, size: number | bigint): string => `${hex(start)}+${hex(size)}`;
