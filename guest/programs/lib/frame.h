#ifndef FRAME_H
#define FRAME_H

#include "types.h"

/* A frame of the frame grabber, as it lies in a ring (docs/machine.md, "capture: frames"). */

struct frame {
	u32 magic;
	u32 length;
	u64 sequence;
	u64 timestamp; /* ns, CLOCK_MONOTONIC of the host */
	u32 crc;       /* of everything but these two words */
	u32 zero;
	u32 payload[];
};

/* `size` bytes in RAM are one whole frame. */
bool frame_is_good(const struct frame *frame, u32 size);

#endif
