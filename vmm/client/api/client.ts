/**
 * The package's face `livevmm/client`: the emulated VFIO by its system calls, drivers of our
 * devices, and the memory and eventfds that Node has no calls for. Errors are SysError with the
 * errno as `code`. Each thread that makes calls needs a KernelClient.
 */
export * as pci from '../../../iommu/abi/pci-regs.ts';
export * as vfio from '../../../iommu/abi/vfio.ts';
export { SysError } from '../../../platform/errno.ts';
export { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
export { close } from '../../../platform/libc/fd.ts';
export { POLLIN, poll } from '../../../platform/libc/poll.ts';
export { createMemory, Mapping } from '../../../platform/memory.ts';
export type { MappedBar, MmapOptions } from '../bar-mapping.ts';
export * from '../container.ts';
export * from '../control.ts';
export * from '../device.ts';
export * from '../dma.ts';
export * from '../drivers/capture.ts';
export * from '../drivers/edu.ts';
export * from '../drivers/kvemu.ts';
export * from '../drivers/mscribe.ts';
export * from '../group.ts';
export * from '../irqs.ts';
export { KernelClient } from '../kernel-client.ts';
export * from '../kexec.ts';
export * from '../pkernfs.ts';
export * from '../registers.ts';
export type { FileCalls } from '../task-channel.ts';
