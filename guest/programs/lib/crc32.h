#ifndef CRC32_H
#define CRC32_H

#include "types.h"

/* CRC-32 (IEEE 802.3, reflected 0xedb88320, as zlib's crc32()), eight bytes at a time. */

void crc32_start(void);

/* Continues `crc` (0 to begin) over `length` bytes, a multiple of 8, 8-byte aligned. */
u32 crc32(u32 crc, const void *bytes, u64 length);

#endif
