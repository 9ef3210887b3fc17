/*
 * A DPDK driver for the edu device: EAL finds the device in sysfs, takes it from vfio-pci, maps its
 * BAR, and calls the driver, which works with the mapped registers. Installed packages have no
 * header for drivers: here is what EAL reads of struct rte_pci_driver (bus_pci_driver.h).
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_debug.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_pci.h>

struct rte_pci_device;
struct rte_pci_driver {
	void *next[2];
	struct {
		void *next[2];
		const char *name, *alias;
	} driver;
	int (*probe)(struct rte_pci_driver *, struct rte_pci_device *);
	int (*remove)(struct rte_pci_device *);
	void *dma_map, *dma_unmap;
	const struct rte_pci_id *id_table;
	uint32_t drv_flags;
};
void rte_pci_register(struct rte_pci_driver *driver);
enum { NEED_MAPPING = 1 };

enum { ID = 0, FACTORIAL = 8, STATUS = 0x20, COMPUTING = 1, BAR_BYTES = 1 << 20 };
enum { DMA_SRC = 0x80, DMA_DST = 0x88, DMA_COUNT = 0x90, DMA_CMD = 0x98, DMA_RUN = 1, DMA_TO_RAM = 2, BUFFER = 0x40000 };

/* Where EAL has mapped BAR 0: the only shared mapping of its size. */
static volatile uint8_t *mapped_bar(void)
{
	char line[512];
	uintptr_t start, end, found = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx rw-s", &start, &end) == 2 && strstr(line, " rw-s ") && end - start == BAR_BYTES)
			found = start;
	fclose(maps);
	return (volatile uint8_t *)found;
}

static volatile uint8_t *bar;
#define REG32(at) (*(volatile uint32_t *)(bar + (at)))
#define REG64(at) (*(volatile uint64_t *)(bar + (at)))

static void copy(uint64_t from, uint64_t to, uint64_t bytes, uint64_t direction)
{
	REG64(DMA_SRC) = from;
	REG64(DMA_DST) = to;
	REG64(DMA_COUNT) = bytes;
	REG64(DMA_CMD) = DMA_RUN | direction;
	for (int i = 0; i < 1000 && REG64(DMA_CMD) & DMA_RUN; i++)
		usleep(1000);
}

static int probe(struct rte_pci_driver *driver, struct rte_pci_device *device)
{
	bar = mapped_bar();
	if (!bar)
		rte_exit(1, "BAR 0 is not mapped\n");
	REG32(FACTORIAL) = 10;
	for (int i = 0; i < 1000 && REG32(STATUS) & COMPUTING; i++)
		usleep(1000);
	printf("id %08x, 10! = %u\n", REG32(ID), REG32(FACTORIAL));
	char *memory = rte_zmalloc("edu", 8192, 4096);
	strcpy(memory, "by DMA, through mapped registers");
	copy(rte_malloc_virt2iova(memory), BUFFER, 40, 0);
	copy(BUFFER, rte_malloc_virt2iova(memory) + 4096, 40, DMA_TO_RAM);
	printf("page 1: %s\n", memory + 4096);
	return 0;
}

static int removed(struct rte_pci_device *device)
{
	return 0;
}

int main(int argc, char **argv)
{
	static const struct rte_pci_id ids[] = { { RTE_CLASS_ANY_ID, 0x1234, 0x11e8, RTE_PCI_ANY_ID, RTE_PCI_ANY_ID }, { 0 } };
	static struct rte_pci_driver edu = { .driver = { .name = "edu" }, .probe = probe, .remove = removed, .id_table = ids, .drv_flags = NEED_MAPPING };
	rte_pci_register(&edu);
	if (rte_eal_init(argc, argv) < 0)
		rte_exit(1, "EAL does not start\n");
	printf("cleaned up: %d\n", rte_eal_cleanup());
	return 0;
}
