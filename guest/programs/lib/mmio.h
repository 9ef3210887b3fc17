#ifndef MMIO_H
#define MMIO_H

#include "types.h"

/* Device registers. RAM accesses before a write, and after a read, stay on their side of it (RISC-V io ordering). */

static inline void fence_io(void) { __asm__ volatile("fence iorw, iorw" ::: "memory"); }

/* Between reading an index that a device publishes and reading what it published. */
static inline void fence_read(void) { __asm__ volatile("fence r, r" ::: "memory"); }

static inline u8 read8(u64 gpa) { return *(volatile u8 *)gpa; }

static inline u32 read32(u64 gpa)
{
	u32 value = *(volatile u32 *)gpa;
	fence_io();
	return value;
}

static inline void write8(u64 gpa, u8 value) { *(volatile u8 *)gpa = value; }

static inline void write32(u64 gpa, u32 value)
{
	fence_io();
	*(volatile u32 *)gpa = value;
}

static inline void write64(u64 gpa, u64 value)
{
	fence_io();
	*(volatile u64 *)gpa = value;
}

#endif
