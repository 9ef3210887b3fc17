/** Whether a file begins as gzip does (RFC 1952). */
export const isGzip = (file: Uint8Array): boolean => file[0] === 0x1f && file[1] === 0x8b;
