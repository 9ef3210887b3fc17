/**
 * The window in which devices store their MSIs, as behind an x86 root complex: fee00000–feefffff. A
 * 32-bit store there is an interrupt and reaches no memory. An IOMMU with a flat MSI window
 * reserves these iovas (MAP-9).
 */
import { PAGE_SIZE } from '../../platform/page.ts';

export const MSI_WINDOW_START = 0xfee0_0000;
export const MSI_WINDOW_SIZE = 0x10_0000;

/** The same in pages. */
export const MSI_WINDOW = { vpn: MSI_WINDOW_START / PAGE_SIZE, nrPages: MSI_WINDOW_SIZE / PAGE_SIZE } as const;
