#ifndef IOMMU_H
#define IOMMU_H

#include "types.h"

/* The RISC-V IOMMU of `virt` (iommu-sys=on): wired interrupts, a directory of one level, one context with Sv39. */

#define IOMMU_IRQ 36 /* source of the PLIC: 36 command queue, 37 faults */
#define IOMMU_IOVA 0x40000000ul /* iovas from here on can be mapped, 2 MiB */

#define IOMMU_PTE_READ (1ul << 1)
#define IOMMU_PTE_WRITE (1ul << 2)

struct iommu_fault {
	u64 info; /* cause 11:0, type of the transaction 39:34, did 63:40 */
	u64 reserved;
	u64 iotval, iotval2;
};

/* Version of the unit, 0x10; switches its queues on. 0: there is none, or it lacks what this needs. */
u32 iommu_start(void);

/* Off, or by the directory. */
void iommu_translate(bool on);

/* The context of a device, id below 64, with the page table below; valid or not. */
void iommu_context(u32 did, bool valid);
void iommu_forget_context(u32 did);

/* An iova of one page leads to that page from now on, with these rights; 0: nowhere. What is cached stays. */
void iommu_map(u64 iova, u64 gpa, u64 rights);
void iommu_forget_page(u64 iova);

/* All commands have been executed, and no access that began before is under way. */
void iommu_fence(void);

/* The next fault record; false: there is none. */
bool iommu_take_fault(struct iommu_fault *fault);

/* Acknowledges the interrupt of the fault queue. */
void iommu_acknowledge_faults(void);

#endif
