#include "lib/console.h"
#include "lib/csr.h"
#include "lib/edu.h"
#include "lib/imsic.h"
#include "lib/mmio.h"
#include "lib/pcie.h"
#include "lib/plic.h"

/*
 * Drives every edu device by its INTx wire to the PLIC, or to the APLIC where there is one: it raises an interrupt,
 * waits for it, acknowledges, again and again.
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
	u64 since, taken;
};

/*
 * APLIC (AIA 1.0 chapter 4): the domain of M mode, and that of S mode, which the sources with odd numbers are delegated to. A
 * source's identity is its number, in the interrupt file of its domain's level. M mode takes from both files.
 */
#define APLIC_M 0xc000000ul
#define APLIC_S 0xd000000ul
#define DOMAINCFG(aplic) (aplic)
#define DOMAINCFG_FIXED 0x80000000u /* reads so; at a PLIC's place it is 0 */
#define DOMAINCFG_IE 0x100u
#define SOURCECFG(aplic, source) ((aplic) + 4ul * (source))
#define SOURCECFG_LEVEL_HIGH 6
#define SOURCECFG_DELEGATED 0x400
#define MMSIADDRCFG (APLIC_M + 0x1bc0)
#define SMSIADDRCFG (APLIC_M + 0x1bc8)
#define SETIPNUM(aplic) ((aplic) + 0x1cdc)
#define SETIENUM(aplic) ((aplic) + 0x1edc)
#define TARGET(aplic, source) ((aplic) + 0x3000 + 4ul * (source))
#define IMSIC_M 0x24000000ul
#define IMSIC_S 0x28000000ul
#define EIDELIVERY 0x70
#define EITHRESHOLD 0x72
#define EIE0 0xc0

static bool has_aplic;

static bool is_supervisor(u32 source) { return source % 2 == 1; }
static u64 aplic_of(u32 source) { return is_supervisor(source) ? APLIC_S : APLIC_M; }

static void enable(u32 source)
{
	if (!has_aplic) {
		plic_enable(source);
		return;
	}
	u64 aplic = aplic_of(source);

	if (is_supervisor(source)) {
		csr_write(CSR_SISELECT, EIE0);
		csr_set(CSR_SIREG, 1ul << source);
		write32(SOURCECFG(APLIC_M, source), SOURCECFG_DELEGATED);
	} else {
		csr_write(CSR_MISELECT, EIE0);
		csr_set(CSR_MIREG, 1ul << source);
	}
	write32(SOURCECFG(aplic, source), SOURCECFG_LEVEL_HIGH);
	write32(TARGET(aplic, source), source); /* of hart 0 */
	write32(SETIENUM(aplic), source);
}

static void start(void)
{
	has_aplic = read32(DOMAINCFG(APLIC_M)) & DOMAINCFG_FIXED;
	if (!has_aplic)
		return;
	imsic_start();
	csr_write(CSR_SISELECT, EITHRESHOLD);
	csr_write(CSR_SIREG, 0);
	csr_write(CSR_SISELECT, EIDELIVERY);
	csr_write(CSR_SIREG, 1);
	csr_set(mie, 1ul << IRQ_S_EXT);
	write32(MMSIADDRCFG, IMSIC_M >> 12);
	write32(SMSIADDRCFG, IMSIC_S >> 12);
	write32(DOMAINCFG(APLIC_M), DOMAINCFG_IE);
	write32(DOMAINCFG(APLIC_S), DOMAINCFG_IE);
}

static u32 claim(void)
{
	u64 top;

	if (!has_aplic)
		return plic_claim();
	__asm__ volatile("csrrw %0, " CSR_NAME(CSR_MTOPEI) ", zero" : "=r"(top)::"memory");
	if (top == 0)
		__asm__ volatile("csrrw %0, " CSR_NAME(CSR_STOPEI) ", zero" : "=r"(top)::"memory");
	return (u32)(top >> 16);
}

/* AIA 1.0 section 4.9.2: a level that is still up sends another message. */
static void complete(u32 source)
{
	if (has_aplic)
		write32(SETIPNUM(aplic_of(source)), source);
	else
		plic_complete(source);
}

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
	station->taken++;
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
	complete(source);
}

/* Of the device that has interrupted least. */
static u64 least(void)
{
	u64 count = taken;

	for (u32 i = 0; i < nr_stations; i++)
		if (stations[i].taken < count)
			count = stations[i].taken;
	return count;
}

int main(void)
{
	struct pci_device found[MAX_EDUS];

	nr_stations = pcie_find(EDU_VENDOR, EDU_DEVICE, found, MAX_EDUS);
	if (nr_stations == 0)
		return 2;
	start();
	for (u32 i = 0; i < nr_stations; i++) {
		stations[i].pci = found[i];
		stations[i].source = 32 + found[i].slot % 4;
		enable(stations[i].source);
	}
	csr_set(mie, 1ul << IRQ_M_TIMER);
	print("intx: %u devices\n", nr_stations);
	for (;;) {
		int key = console_getc();
		u32 source;

		if (key == 's')
			print("@stats {\"raised\":%lu,\"taken\":%lu,\"least\":%lu,\"twice\":%lu,\"lost\":%lu,\"spurious\":%lu}\n",
			      raised, taken, least(), twice, lost, spurious);
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
		while ((source = claim()) != 0)
			interrupt(source);
	}
}
