#include "lib/console.h"
#include "lib/mmio.h"
#include "lib/types.h"

/*
 * Prints what QEMU's fw_cfg device says: signature, features, number of harts, files, and the content of the file opt/text,
 * by the data register and by DMA. 'n' prints the next byte of opt/text; the device's place in it is state. 'x' ends.
 */

#define FW_CFG 0x10100000ul
#define SIGNATURE 0x00
#define ID 0x01
#define NB_CPUS 0x05
#define FILE_DIR 0x19
#define NAME 56
#define DMA_READ 2u
#define DMA_SELECT 8u
#define DMA_WRITE 16u
#define DMA_ERROR 1u

static u16 swap16(u16 value) { return (u16)(value >> 8 | value << 8); }
static u32 swap32(u32 value) { return (u32)swap16((u16)value) << 16 | swap16((u16)(value >> 16)); }
static u64 swap64(u64 value) { return (u64)swap32((u32)value) << 32 | swap32((u32)(value >> 32)); }

struct command {
	u32 control, length;
	u64 address;
};

static volatile struct command command;

static void select(u16 item) { *(volatile u16 *)(FW_CFG + 8) = swap16(item); }
static u8 next(void) { return *(volatile u8 *)FW_CFG; }
static u32 next32(void) { return *(volatile u32 *)FW_CFG; }

/* Returns the control word that the device leaves. */
static u32 dma(u32 control, volatile void *to, u32 length)
{
	command.control = swap32(control);
	command.length = swap32(length);
	command.address = swap64((u64)to);
	__asm__ volatile("fence" ::: "memory");
	*(volatile u64 *)(FW_CFG + 16) = swap64((u64)&command);
	__asm__ volatile("fence" ::: "memory");
	return swap32(command.control);
}

static bool same(const char *a, const char *b)
{
	while (*a == *b && *a != '\0')
		a++, b++;
	return *a == *b;
}

int main(void)
{
	static u8 bytes[8];
	u16 text = 0;
	u32 size = 0, files;

	select(SIGNATURE);
	for (int i = 0; i < 4; i++)
		print("%c", next());
	select(ID);
	print(" id %u", next32());
	select(NB_CPUS);
	print(" harts %u", next32() & 0xffff);
	print(" dma %lx\n", swap64(*(volatile u64 *)(FW_CFG + 16)));

	select(FILE_DIR);
	files = swap32(next32());
	for (u32 i = 0; i < files; i++) {
		char name[NAME + 1];
		u32 length = swap32(next32());
		u16 item = swap16((u16)next32());

		for (int j = 0; j < NAME; j++)
			name[j] = (char)next();
		name[NAME] = '\0';
		if (name[0] == 'o')
			print("file %s %u\n", name, length);
		if (same(name, "opt/text"))
			text = item, size = length;
	}
	print("dma read %x ", dma((u32)text << 16 | DMA_SELECT | DMA_READ, bytes, size + 1));
	for (u32 i = 0; i <= size; i++)
		print("%x.", bytes[i]);
	print("\ndma write %x\n", dma((u32)text << 16 | DMA_SELECT | DMA_WRITE, bytes, 1));
	print("nowhere %x\n", dma((u32)text << 16 | DMA_SELECT | DMA_READ, (void *)0x10, 1));
	select(0x3ffe);
	print("none %x\n", next());
	select(text);
	for (;;) {
		int key = console_getc();

		if (key == 'n')
			print("next %x\n", next());
		if (key == 'x')
			return 0;
	}
}
