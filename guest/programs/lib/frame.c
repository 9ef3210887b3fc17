#include "frame.h"

#include "crc32.h"

#define FRAME_MAGIC 0x4d415246u /* "FRAM" */

/* Payload word i = sequence * PAYLOAD_SEQUENCE + i * PAYLOAD_WORD. */
#define PAYLOAD_SEQUENCE 0x9e3779b1u
#define PAYLOAD_WORD 0x85ebca6bu

bool frame_is_good(const struct frame *frame, u32 size)
{
	u32 words = (size - sizeof(*frame)) / 4;
	u32 seed = (u32)frame->sequence * PAYLOAD_SEQUENCE;
	u32 crc = crc32(crc32(0, frame, 0x18), frame->payload, size - sizeof(*frame));

	return frame->magic == FRAME_MAGIC && frame->length == size && frame->zero == 0 && frame->crc == crc &&
	       frame->payload[0] == seed && frame->payload[words - 1] == seed + (words - 1) * PAYLOAD_WORD;
}
