/*
 * A user of Linux's VFIO that knows nothing of livevmm: it takes the edu device from its container
 * and group, lets it copy memory by DMA, and waits for its interrupt.
 *
 *     cc -o edu-dma edu-dma.c && npx livevmm with -- ./edu-dma 0000:00:02.0
 */
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FACTORIAL = 0x08, STATUS = 0x20, IRQ_STATUS = 0x24, IRQ_ACK = 0x64, DMA_SRC = 0x80, DMA_DST = 0x88, DMA_COUNT = 0x90, DMA_CMD = 0x98 };
enum { COMPUTING = 1, DMA_RUN = 1, DMA_TO_RAM = 2, DMA_IRQ = 4, BUFFER = 0x40000, PCI_COMMAND = 4, MASTER_AND_MEMORY = 6 };
#define IOVA 0x100000ull

static int device;
static uint64_t bar0;

static long checked(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static uint32_t get(int reg)
{
	uint32_t value = 0;
	checked(pread(device, &value, 4, bar0 + reg), "read of a register");
	return value;
}

static void set(int reg, uint64_t value, int size)
{
	checked(pwrite(device, &value, size, bar0 + reg), "write of a register");
}

static void copy(uint64_t from, uint64_t to, uint64_t bytes, uint64_t direction, int interrupt)
{
	uint64_t count;
	struct pollfd wait = { .fd = interrupt, .events = POLLIN };
	set(DMA_SRC, from, 8);
	set(DMA_DST, to, 8);
	set(DMA_COUNT, bytes, 8);
	set(DMA_CMD, DMA_RUN | DMA_IRQ | direction, 8);
	if (poll(&wait, 1, 60000) != 1 || read(interrupt, &count, 8) != 8) {
		fprintf(stderr, "no interrupt\n");
		exit(1);
	}
	set(IRQ_ACK, get(IRQ_STATUS), 4);
}

static uint64_t region(int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	checked(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "VFIO_DEVICE_GET_REGION_INFO");
	return info.offset;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "0000:00:02.0";
	char path[PATH_MAX], link[PATH_MAX] = "";
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", name);
	checked(readlink(path, link, sizeof(link) - 1), path);
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);

	int container = checked(open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");
	int group = checked(open(path, O_RDWR), path);
	checked(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	checked(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	device = checked(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name), "VFIO_GROUP_GET_DEVICE_FD");
	bar0 = region(VFIO_PCI_BAR0_REGION_INDEX);
	uint64_t config = region(VFIO_PCI_CONFIG_REGION_INDEX);
	uint16_t ids[2], command = MASTER_AND_MEMORY;
	checked(pread(device, ids, sizeof(ids), config), "read of the configuration space");
	checked(pwrite(device, &command, 2, config + PCI_COMMAND), "write of the configuration space");
	printf("%s in %s is %04x:%04x\n", name, path, ids[0], ids[1]);

	set(FACTORIAL, 10, 4);
	while (get(STATUS) & COMPUTING)
		usleep(1000);
	printf("10! = %u\n", get(FACTORIAL));

	size_t size = 1 << 16;
	char *ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, .vaddr = (uintptr_t)ram, .iova = IOVA, .size = size };
	checked(ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "VFIO_IOMMU_MAP_DMA");

	int interrupt = checked(eventfd(0, EFD_CLOEXEC), "eventfd");
	char bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *irqs = (void *)bytes;
	*irqs = (struct vfio_irq_set){ .argsz = sizeof(bytes), .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, .index = VFIO_PCI_MSI_IRQ_INDEX, .count = 1 };
	memcpy(irqs->data, &interrupt, sizeof(int));
	checked(ioctl(device, VFIO_DEVICE_SET_IRQS, irqs), "VFIO_DEVICE_SET_IRQS");

	strcpy(ram, "by DMA, through an IOMMU");
	copy(IOVA, BUFFER, 32, 0, interrupt);
	copy(BUFFER, IOVA + 4096, 32, DMA_TO_RAM, interrupt);
	printf("page 1: %s\n", ram + 4096);

	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = IOVA, .size = size };
	checked(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap), "VFIO_IOMMU_UNMAP_DMA");
	printf("unmapped %llu bytes\n", unmap.size);
	return 0;
}
