#include "crc32.h"

#define POLYNOMIAL 0xedb88320u

/* table[k][b]: what byte b contributes when k more bytes follow it. */
static u32 table[8][256];

void crc32_start(void)
{
	for (u32 b = 0; b < 256; b++) {
		u32 crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][b] = crc;
	}
	for (u32 b = 0; b < 256; b++)
		for (u32 k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

u32 crc32(u32 crc, const void *bytes, u64 length)
{
	const u64 *word = bytes;
	const u64 *end = word + length / 8;

	crc = ~crc;
	for (; word < end; word++) {
		u64 v = *word ^ crc;

		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff] ^
		      table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^ table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	return ~crc;
}
