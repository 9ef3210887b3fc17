#include "pcie.h"

#include "mmio.h"

#define ECAM 0x30000000ul
#define WINDOW_START 0x40000000ul
#define WINDOW_END 0x80000000ul

#define PCI_ID 0x00
#define PCI_COMMAND 0x04
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define NR_BARS 6

#define COMMAND_MEMORY 0x0002
#define COMMAND_MASTER 0x0004
#define STATUS_CAP_LIST 0x0010

#define BAR_IO 0x1u
#define BAR_64 0x4u

#define CAP_ID_MSI 0x05
#define MSI_CONTROL_ENABLE 0x0001
#define MSI_CONTROL_64 0x0080

#define CAP_ID_MSIX 0x11
#define MSIX_CONTROL_LAST 0x07ff
#define MSIX_CONTROL_MASK_ALL 0x4000
#define MSIX_CONTROL_ENABLE 0x8000

static u64 next_bar = WINDOW_START;

static u16 config_read16(u64 gpa) { return *(volatile u16 *)gpa; }
static void config_write16(u64 gpa, u16 value)
{
	fence_io();
	*(volatile u16 *)gpa = value;
}

/* PCI 3.0 §6.2.5.1: write ones, read the size mask. I/O BARs stay where they are; nothing here uses them. */
static void place_bars(struct pci_device *device)
{
	for (u32 i = 0; i < NR_BARS; i++) {
		u64 bar = device->config + PCI_BAR0 + 4 * i;
		u32 old = read32(bar);

		write32(bar, 0xffffffff);
		u32 mask = read32(bar);
		if (mask == 0 || mask & BAR_IO) {
			write32(bar, old);
			continue;
		}
		u64 size = (u32)~(mask & ~0xfu) + 1ul;
		u64 gpa = (next_bar + size - 1) & ~(size - 1);

		if (gpa + size > WINDOW_END)
			continue; /* too large for the window; it keeps decoding at no address we use */
		next_bar = gpa + size;
		write32(bar, (u32)gpa);
		if (i == 0)
			device->bar0 = gpa;
		if (mask & BAR_64) {
			write32(bar + 4, 0);
			i++;
		}
	}
}

u32 pcie_find(u16 vendor, u16 id, struct pci_device *found, u32 max)
{
	u32 n = 0;

	for (u32 slot = 0; slot < 32; slot++) {
		u64 first = ECAM + (slot << 15);

		if (read32(first + PCI_ID) == 0xffffffff)
			continue;
		bool multi = read8(first + PCI_HEADER_TYPE) & 0x80;

		for (u32 function = 0; function < (multi ? 8 : 1) && n < max; function++) {
			u64 config = first + (function << 12);

			if (read32(config + PCI_ID) != ((u32)id << 16 | vendor))
				continue;
			struct pci_device *device = &found[n++];

			device->config = config;
			device->slot = slot;
			device->function = function;
			config_write16(config + PCI_COMMAND, 0);
			place_bars(device);
			config_write16(config + PCI_COMMAND, COMMAND_MEMORY | COMMAND_MASTER);
		}
	}
	return n;
}

/* PCI 3.0 §6.8.1 */
static void enable_msi(u64 capability, struct msi msi)
{
	u16 control = config_read16(capability + 2);
	bool wide = control & MSI_CONTROL_64;

	write32(capability + 4, (u32)msi.gpa);
	if (wide)
		write32(capability + 8, (u32)(msi.gpa >> 32));
	config_write16(capability + (wide ? 12 : 8), (u16)msi.data);
	config_write16(capability + 2, (control & ~0x0070) | MSI_CONTROL_ENABLE); /* one message */
}

/* PCI 3.0 §6.8.2: the table lies in a BAR below 4 GiB, where place_bars() puts all. */
static u64 msix_table(u64 config, u64 capability)
{
	u32 place = read32(capability + 4);

	return (read32(config + PCI_BAR0 + 4 * (place & 7)) & ~0xfu) + (place & ~7u);
}

static void enable_msix(u64 config, u64 capability, struct msi msi)
{
	u16 control = config_read16(capability + 2);
	u64 table = msix_table(config, capability);

	config_write16(capability + 2, control | MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
	for (u32 vector = 0; vector <= (control & MSIX_CONTROL_LAST); vector++) {
		u64 entry = table + 16 * vector;

		write32(entry, (u32)msi.gpa);
		write32(entry + 4, (u32)(msi.gpa >> 32));
		write32(entry + 8, msi.data);
		write32(entry + 12, 0); /* not masked */
	}
	config_write16(capability + 2, (control & ~MSIX_CONTROL_MASK_ALL) | MSIX_CONTROL_ENABLE);
}

static u64 find_capability(u64 config, u8 id)
{
	if (!(config_read16(config + PCI_COMMAND + 2) & STATUS_CAP_LIST))
		return 0;
	for (u8 at = read8(config + PCI_CAPABILITIES) & 0xfc; at != 0; at = read8(config + at + 1) & 0xfc)
		if (read8(config + at) == id)
			return config + at;
	return 0;
}

bool pcie_enable_msi(const struct pci_device *device, struct msi msi)
{
	u64 msix = find_capability(device->config, CAP_ID_MSIX);
	u64 single = find_capability(device->config, CAP_ID_MSI);

	if (msix != 0)
		enable_msix(device->config, msix, msi);
	else if (single != 0)
		enable_msi(single, msi);
	return msix != 0 || single != 0;
}

void pcie_mask_msix(const struct pci_device *device, u32 vector, bool masked)
{
	u64 table = msix_table(device->config, find_capability(device->config, CAP_ID_MSIX));

	write32(table + 16 * vector + 12, masked);
}
