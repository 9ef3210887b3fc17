/*
 * A user of DPDK: EAL's VFIO layer takes the edu device, and has mapped its own memory for DMA. The
 * device then copies within that memory.
 */
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rte_debug.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_vfio.h>

#define SYSFS "/sys/bus/pci/devices"
enum { PCI_COMMAND = 4, MASTER_AND_MEMORY = 6, DMA_SRC = 0x80, DMA_DST = 0x88, DMA_COUNT = 0x90, DMA_CMD = 0x98 };
enum { DMA_RUN = 1, DMA_TO_RAM = 2, BUFFER = 0x40000 };

static int device;

static uint64_t region(int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		rte_exit(1, "no region %d\n", index);
	return info.offset;
}

static void copy(uint64_t from, uint64_t to, uint64_t bytes, uint64_t direction)
{
	uint64_t bar0 = region(VFIO_PCI_BAR0_REGION_INDEX), run = DMA_RUN | direction;
	pwrite(device, &from, 8, bar0 + DMA_SRC);
	pwrite(device, &to, 8, bar0 + DMA_DST);
	pwrite(device, &bytes, 8, bar0 + DMA_COUNT);
	pwrite(device, &run, 8, bar0 + DMA_CMD);
	for (int i = 0; i < 1000 && run & DMA_RUN; i++, usleep(1000))
		pread(device, &run, 8, bar0 + DMA_CMD);
}

int main(int argc, char **argv)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint16_t command = MASTER_AND_MEMORY;
	if (rte_eal_init(argc, argv) < 0 || rte_vfio_setup_device(SYSFS, "0000:00:02.0", &device, &info))
		rte_exit(1, "the device cannot be used\n");
	printf("%u regions, %u irqs, noiommu %d\n", info.num_regions, info.num_irqs, rte_vfio_noiommu_is_enabled());
	pwrite(device, &command, 2, region(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND);
	char *memory = rte_zmalloc("edu", 8192, 4096);
	strcpy(memory, "by DMA, through EAL's mapping");
	uint64_t iova = rte_malloc_virt2iova(memory);
	copy(iova, BUFFER, 32, 0);
	copy(BUFFER, iova + 4096, 32, DMA_TO_RAM);
	printf("page 1: %s\n", memory + 4096);
	printf("released: %d\n", rte_vfio_release_device(SYSFS, "0000:00:02.0", device));
	return 0;
}
