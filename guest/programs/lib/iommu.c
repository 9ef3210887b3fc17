#include "iommu.h"

#include "mmio.h"

#define IOMMU 0x3010000ul

#define CAPABILITIES 0x000
#define FCTL 0x008
#define DDTP 0x010
#define CQB 0x018
#define CQH 0x020
#define CQT 0x024
#define FQB 0x028
#define FQH 0x030
#define FQT 0x034
#define CQCSR 0x048
#define FQCSR 0x04c
#define IPSR 0x054
#define ICVEC 0x2f8

#define CAP_SV39 (1u << 9)
#define CAP_MSI_FLAT (1u << 22)
#define FCTL_WSI 2
#define QUEUE_ENABLE 1
#define QUEUE_INTERRUPTS 2
#define QUEUE_ON (1u << 16)
#define QUEUE_ERRORS 0x0f00
#define IPSR_FIP 2
#define VECTORS 0x3210 /* each cause has its own wire */

#define DDTP_OFF 0
#define DDTP_1LVL 2

#define VALID 1ul
#define PTE_USER (1ul << 4)
#define PTE_ACCESSED (1ul << 6)
#define PTE_DIRTY (1ul << 7)
#define FSC_SV39 (8ul << 60)
#define PSCID 5ul

#define IOTINVAL_VMA 1ul
#define IOFENCE_C 2ul
#define IODIR_INVAL_DDT 3ul
#define AV (1ul << 10)
#define PSCV (1ul << 32)
#define DV (1ul << 33)

#define LOG_ENTRIES 6
#define ENTRIES (1u << LOG_ENTRIES)
#define PAGE 4096

static u64 commands[ENTRIES][2] __attribute__((aligned(PAGE)));
static struct iommu_fault faults[ENTRIES] __attribute__((aligned(PAGE)));
static u64 directory[64][8] __attribute__((aligned(PAGE)));
/* From the root down. */
static u64 tables[3][512] __attribute__((aligned(PAGE)));
static volatile u32 fenced __attribute__((aligned(4)));
static u32 fences, tail;

static u64 ppn(const void *table) { return (u64)table >> 12 << 10; }

static bool queue_on(u64 base, u64 csr, const void *entries)
{
	write64(IOMMU + base, ppn(entries) | (LOG_ENTRIES - 1));
	write32(IOMMU + csr, QUEUE_ENABLE | QUEUE_INTERRUPTS);
	while (!(read32(IOMMU + csr) & QUEUE_ON))
		if (read32(IOMMU + csr) & QUEUE_ERRORS)
			return false;
	return true;
}

u32 iommu_start(void)
{
	u32 capabilities = read32(IOMMU + CAPABILITIES);

	if (!(capabilities & CAP_SV39) || !(capabilities & CAP_MSI_FLAT)) /* contexts of 64 bytes */
		return 0;
	write32(IOMMU + FCTL, FCTL_WSI);
	write64(IOMMU + ICVEC, VECTORS);
	if (!queue_on(CQB, CQCSR, commands) || !queue_on(FQB, FQCSR, faults))
		return 0;
	tables[0][IOMMU_IOVA >> 30] = ppn(tables[1]) | VALID;
	tables[1][0] = ppn(tables[2]) | VALID;
	return capabilities & 0xff;
}

void iommu_translate(bool on) { write64(IOMMU + DDTP, on ? ppn(directory) | DDTP_1LVL : DDTP_OFF); }

static void command(u64 first, u64 second)
{
	commands[tail][0] = first;
	commands[tail][1] = second;
	tail = (tail + 1) % ENTRIES;
	write32(IOMMU + CQT, tail);
	while (read32(IOMMU + CQH) != tail)
		if (read32(IOMMU + CQCSR) & QUEUE_ERRORS)
			return;
}

void iommu_context(u32 did, bool valid)
{
	u64 *context = directory[did];

	context[2] = PSCID << 12;
	context[3] = FSC_SV39 | (u64)tables[0] >> 12;
	fence_io();
	context[0] = valid ? VALID : 0;
}

void iommu_forget_context(u32 did) { command(IODIR_INVAL_DDT | DV | (u64)did << 40, 0); }

void iommu_map(u64 iova, u64 gpa, u64 rights)
{
	u64 always = VALID | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

	tables[2][(iova >> 12) % 512] = rights == 0 ? 0 : gpa >> 12 << 10 | rights | always;
}

void iommu_forget_page(u64 iova) { command(IOTINVAL_VMA | AV | PSCV | PSCID << 12, iova >> 2); }

void iommu_fence(void)
{
	fences++;
	command(IOFENCE_C | AV | (u64)fences << 32, (u64)&fenced >> 2);
	while (fenced != fences)
		;
}

bool iommu_take_fault(struct iommu_fault *fault)
{
	u32 head = read32(IOMMU + FQH);

	if (head == read32(IOMMU + FQT))
		return false;
	*fault = *(volatile struct iommu_fault *)&faults[head];
	write32(IOMMU + FQH, (head + 1) % ENTRIES);
	return true;
}

void iommu_acknowledge_faults(void) { write32(IOMMU + IPSR, IPSR_FIP); }
