/** The ioctls of the fake kernel and its answers (fake-kernel.ts). */
export const NR_BY_VALUE = 1;
export const NR_STRUCT = 2;
export const NR_NEW_FD = 3;
export const NR_REFUSED = 4;
export const NR_HANG_UP = 5;
export const NR_SPLIT = 6;
export const TOKEN = 4711;
/** NR_STRUCT in an array of structs: one that begins with this is refused. */
export const REFUSED_BYTE = 255;
