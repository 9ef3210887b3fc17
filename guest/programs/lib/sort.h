#ifndef SORT_H
#define SORT_H

#include "types.h"

/* Into ascending order (Shell's sort). */
static inline void sort(u32 *values, u32 n)
{
	for (u32 gap = n / 2; gap > 0; gap /= 2)
		for (u32 i = gap; i < n; i++)
			for (u32 j = i; j >= gap && values[j - gap] > values[j]; j -= gap) {
				u32 value = values[j];

				values[j] = values[j - gap];
				values[j - gap] = value;
			}
}

#endif
