#include "lib/console.h"
#include "lib/csr.h"
#include "lib/imsic.h"
#include "lib/mmio.h"
#include "lib/trap.h"
#include "lib/virtio_pci.h"

/*
 * Takes the interrupts of every virtio-rng on PCI by MSI-X, with aia=aplic-imsic. Each round asks for random bytes and waits
 * for the message of the queue; in every fourth round the vector is masked meanwhile, and the message must come when it is
 * unmasked. Commands on the console: s prints the counts, x ends.
 */

#define RNG 4
#define LENGTH 64

#define MTIME (*(volatile u64 *)0x200bff8ul) /* 10 MHz */
#define MTIMECMP (*(volatile u64 *)0x2004000ul)
#define LOST_AFTER 50000000ul /* 5 s of the guest's time */
#define TICK 1000000ul

static struct virtio_function rng;
static struct virtqueue queue;
static u8 data[LENGTH];
static volatile u64 messages, early;
static bool masked;
static u64 rounds, bad, lost;

static void interrupt(void *context)
{
	(void)context;
	messages = messages + 1;
	if (masked)
		early = early + 1;
}

static bool used(void)
{
	u16 buffer;
	u32 written;

	return virtq_take(&queue, &buffer, &written) && written == LENGTH;
}

static void one_round(void)
{
	u64 before = messages, start = MTIME;

	masked = ++rounds % 4 == 0;
	if (masked)
		pcie_mask_msix(&rng.pci, 0, true);
	virtq_give(&queue, 0, data, LENGTH, true);
	virtio_pci_notify(&rng);
	if (masked) {
		while (*(volatile u16 *)&queue.used.index == queue.seen && MTIME - start < LOST_AFTER)
			;
		masked = false;
		pcie_mask_msix(&rng.pci, 0, false);
	}
	for (;;) {
		interrupts_off(); /* WFI wakes for an interrupt that came since, without it being taken before */
		if (messages == before && MTIME - start < LOST_AFTER) {
			MTIMECMP = MTIME + TICK;
			wait_for_interrupt();
		}
		interrupts_on();
		if (messages != before)
			break;
		if (MTIME - start >= LOST_AFTER) {
			lost++;
			break;
		}
	}
	if (messages != before + 1 || !used())
		bad++;
}

int main(void)
{
	if (!virtio_pci_find(RNG, &rng) || !virtio_pci_start(&rng, &queue, (u64)&queue)) {
		print("messages: no virtio-rng-pci with iommu_platform=on found\n");
		return 2;
	}
	imsic_start();
	if (!pcie_enable_msi(&rng.pci, imsic_allocate(interrupt, NULL)) || !virtio_pci_set_vector(&rng, 0)) {
		print("messages: the device has no MSI-X\n");
		return 2;
	}
	interrupts_on();
	print("messages: ready\n");
	for (;;) {
		int key = console_getc();

		if (key == 's')
			print("@stats {\"rounds\":%lu,\"messages\":%lu,\"early\":%lu,\"bad\":%lu,\"lost\":%lu}\n", rounds, messages,
			      early, bad, lost);
		if (key == 'x')
			return bad == 0 && lost == 0 && early == 0 ? 0 : 1;
		one_round();
	}
}
