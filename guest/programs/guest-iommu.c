#include "lib/console.h"
#include "lib/csr.h"
#include "lib/iommu.h"
#include "lib/mmio.h"
#include "lib/plic.h"
#include "lib/virtio_pci.h"

/*
 * Drives the guest's own IOMMU, with a virtio-rng on PCI behind it (iommu_platform=on). First it goes through what the unit
 * does to one device, and prints it. Then each round maps a fresh iova, lets the device write there, and takes the iova away
 * again; every fourth round lets it write to an iova that is not mapped, and waits for the fault. Commands on the console: s
 * prints the counts, x ends. LIVEVMM's and QEMU's machine print the same.
 */

#define RNG 4
#define PAGE 4096
#define PAGES 16
#define LENGTH 64
#define RING_IOVA IOMMU_IOVA
#define DATA_IOVA (IOMMU_IOVA + 16 * PAGE) /* as many as the table has room for */
#define NR_DATA (512 - 16)
#define UNMAPPED (IOMMU_IOVA + 15 * PAGE)

#define MTIME (*(volatile u64 *)0x200bff8ul) /* 10 MHz */
#define MTIMECMP (*(volatile u64 *)0x2004000ul)
#define LOST_AFTER 50000000ul /* 5 s of the guest's time */

static struct virtio_function rng;
static struct {
	struct virtqueue queue;
} ring __attribute__((aligned(PAGE)));
static u8 data[PAGES][PAGE] __attribute__((aligned(PAGE)));
static u32 did;

static bool queue_interrupt, fault_interrupt;
static u64 rounds, faults, bad, lost;

/* Takes interrupts until `wanted` came; false after 5 s. */
static bool wait_for(const bool *wanted)
{
	u64 start = MTIME;

	for (;;) {
		for (u32 source; (source = plic_claim()) != 0; plic_complete(source)) {
			if (source == IOMMU_IRQ + 1) {
				fault_interrupt = true;
				iommu_acknowledge_faults();
			} else if (virtio_pci_take_interrupts(&rng) & 1) {
				queue_interrupt = true;
			}
		}
		if (*wanted)
			return true;
		if (MTIME - start > LOST_AFTER)
			return false;
		MTIMECMP = MTIME + LOST_AFTER / 10;
		wait_for_interrupt();
	}
}

static void request(u64 iova)
{
	queue_interrupt = false;
	fault_interrupt = false;
	virtq_give(&ring.queue, 0, (void *)iova, LENGTH, true);
	virtio_pci_notify(&rng);
}

static bool start(void) { return virtio_pci_start(&rng, &ring.queue, RING_IOVA); }

static void clear(u8 *page)
{
	for (u32 i = 0; i < PAGE; i++)
		page[i] = 0;
}

/* Whether there are random bytes at the beginning of the page, and nothing else in it. */
static bool filled(const volatile u8 *page)
{
	u32 inside = 0, outside = 0;

	for (u32 i = 0; i < PAGE; i++)
		(i < LENGTH ? &inside : &outside)[0] += page[i] != 0;
	return inside > LENGTH / 2 && outside == 0;
}

/* The device writes; true: it has told of it, and just that page has changed. */
static bool writes_to(u64 iova, u8 *page)
{
	u16 buffer;
	u32 written;

	clear(page);
	request(iova);
	if (!wait_for(&queue_interrupt)) {
		lost++;
		return false;
	}
	return virtq_take(&ring.queue, &buffer, &written) && written == LENGTH && filled(page);
}

static bool is_fault(const struct iommu_fault *fault, u32 cause, u64 iova)
{
	return (fault->info & 0xfff) == cause && (u32)(fault->info >> 40) == did && fault->iotval == iova;
}

/* The device tries to write; true: a fault of that cause was told, and that page is as it was. */
static bool faults_with(u32 cause, u64 iova, u8 *page)
{
	struct iommu_fault first, other;
	bool well;

	clear(page);
	request(iova);
	if (!wait_for(&fault_interrupt)) {
		lost++;
		return false;
	}
	well = iommu_take_fault(&first) && is_fault(&first, cause, iova) && !filled(page);
	virtio_pci_reset(&rng);
	while (iommu_take_fault(&other)) /* one try may have several */
		;
	return start() && well;
}

static void say(const char *what, bool well)
{
	print("%s: %s\n", what, well ? "as it should be" : "WRONG");
	if (!well)
		bad++;
}

static void lead(u64 iova, u8 *page, u64 rights)
{
	iommu_map(iova, (u64)page, rights);
	iommu_forget_page(iova);
	iommu_fence();
}

static void go_through(void)
{
	u64 iova = DATA_IOVA;

	say("a page leads where its entry says", writes_to(iova, data[0]));
	lead(iova, data[1], IOMMU_PTE_READ | IOMMU_PTE_WRITE);
	say("after IOTINVAL it leads elsewhere", writes_to(iova, data[1]));
	lead(iova, data[1], IOMMU_PTE_READ);
	say("a page without W is not written", faults_with(15, iova, data[1]));
	say("a page without an entry is not written", faults_with(15, UNMAPPED, data[2]));
	lead(iova, data[3], IOMMU_PTE_READ | IOMMU_PTE_WRITE);
	say("the device works again", writes_to(iova, data[3]));
	lead(iova, NULL, 0);
}

static void one_round(void)
{
	u64 iova = DATA_IOVA + rounds % NR_DATA * PAGE;
	u8 *page = data[rounds % PAGES];

	rounds++;
	if (rounds % 4 == 0) {
		faults++;
		bad += !faults_with(15, UNMAPPED, page);
		return;
	}
	iommu_map(iova, (u64)page, IOMMU_PTE_READ | IOMMU_PTE_WRITE); /* nothing of it is cached */
	bad += !writes_to(iova, page);
	lead(iova, NULL, 0);
}

int main(void)
{
	u32 version;

	if (!virtio_pci_find(RNG, &rng)) {
		print("iommu: no virtio-rng-pci found\n");
		return 2;
	}
	version = iommu_start();
	if (version == 0) {
		print("iommu: no IOMMU that can be used\n");
		return 2;
	}
	print("iommu: version %u.%u\n", version >> 4, version & 0xf);
	did = rng.pci.slot << 3;
	plic_enable(32 + rng.pci.slot % 4);
	plic_enable(IOMMU_IRQ + 1);
	csr_set(mie, 1ul << IRQ_M_TIMER);
	iommu_map(RING_IOVA, (u64)&ring, IOMMU_PTE_READ | IOMMU_PTE_WRITE);
	iommu_map(DATA_IOVA, (u64)data[0], IOMMU_PTE_READ | IOMMU_PTE_WRITE);
	iommu_context(did, true);
	iommu_translate(true);
	if (!start()) {
		print("iommu: the device refuses its features\n");
		return 2;
	}
	go_through();
	print("iommu: ready\n");
	for (;;) {
		int key = console_getc();

		if (key == 's')
			print("@stats {\"rounds\":%lu,\"faults\":%lu,\"bad\":%lu,\"lost\":%lu}\n", rounds, faults, bad, lost);
		if (key == 'x')
			return bad == 0 && lost == 0 ? 0 : 1;
		one_round();
	}
}
