#ifndef LAYOUT_H
#define LAYOUT_H

/* Numbers that the assembler knows, too. */

#define MAX_HARTS 8
#define STACK_SHIFT 12
#define FRAME_SIZE 128

/* What S mode cannot reach: [FIRMWARE, FIRMWARE + FIRMWARE_SIZE). The VMM tells so in the device tree. */
#define FIRMWARE 0x80000000
#define FIRMWARE_SIZE 0x40000

#endif
