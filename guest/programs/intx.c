#include "lib/console.h"
#include "lib/csr.h"
#include "lib/edu.h"
#include "lib/mmio.h"
#include "lib/pcie.h"
#include "lib/plic.h"

/*
 * Drives every edu device by its INTx wire to the PLIC: it raises an interrupt, waits for it, acknowledges, again and again.
 * Every second interrupt is acknowledged only after its completion: the wire is still up then and interrupts once more.
 * Commands on the console: s prints the counts, x ends.
 */

#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_RAISE 0x60
#define EDU_IRQ_ACK 0x64

#define MTIME (*(volatile u64 *)0x200bff8ul) /* 10 MHz */
#define MTIMECMP (*(volatile u64 *)0x2004000ul)
#define TICK 1000000ul
#define LOST_AFTER 50000000ul /* 5 s of the guest's time */

struct station {
	struct pci_device pci;
	u32 source;
	bool waiting, again;
	u64 since;
};

static struct station stations[MAX_EDUS];
static u32 nr_stations;
static u64 raised, taken, twice, lost, spurious;

static void raise(struct station *station)
{
	station->waiting = true;
	station->again = ++raised % 2 == 0;
	station->since = MTIME;
	write32(station->pci.bar0 + EDU_IRQ_RAISE, 1);
}

/* True if the device had interrupted. */
static bool take(struct station *station)
{
	if (read32(station->pci.bar0 + EDU_IRQ_STATUS) == 0)
		return false;
	if (station->again) { /* the wire stays up */
		station->again = false;
		twice++;
		return true;
	}
	write32(station->pci.bar0 + EDU_IRQ_ACK, 1);
	station->waiting = false;
	taken++;
	return true;
}

static void interrupt(u32 source)
{
	bool any = false;

	for (u32 i = 0; i < nr_stations; i++)
		if (stations[i].source == source)
			any |= take(&stations[i]);
	if (!any)
		spurious++;
	plic_complete(source);
}

int main(void)
{
	struct pci_device found[MAX_EDUS];

	nr_stations = pcie_find(EDU_VENDOR, EDU_DEVICE, found, MAX_EDUS);
	if (nr_stations == 0)
		return 2;
	for (u32 i = 0; i < nr_stations; i++) {
		stations[i].pci = found[i];
		stations[i].source = 32 + found[i].slot % 4;
		plic_enable(stations[i].source);
	}
	csr_set(mie, 1ul << IRQ_M_TIMER);
	print("intx: %u devices\n", nr_stations);
	for (;;) {
		int key = console_getc();
		u32 source;

		if (key == 's')
			print("@stats {\"raised\":%lu,\"taken\":%lu,\"twice\":%lu,\"lost\":%lu,\"spurious\":%lu}\n", raised, taken,
			      twice, lost, spurious);
		if (key == 'x')
			return lost == 0 ? 0 : 1;
		for (u32 i = 0; i < nr_stations; i++) {
			struct station *station = &stations[i];

			if (station->waiting && MTIME - station->since > LOST_AFTER) {
				lost++;
				write32(station->pci.bar0 + EDU_IRQ_ACK, 1);
				station->waiting = false;
			}
			if (!station->waiting)
				raise(station);
		}
		MTIMECMP = MTIME + TICK;
		wait_for_interrupt();
		while ((source = plic_claim()) != 0)
			interrupt(source);
	}
}
