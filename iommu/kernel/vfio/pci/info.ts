/**
 * VFIO_DEVICE_GET_INFO, GET_REGION_INFO and GET_IRQ_INFO of vfio-pci (vfio_pci_core.c; PCI-1,
 * PCI-2, NUM-5).
 */
import { einval } from '../../../../platform/errno.ts';
import { PAGE_SIZE } from '../../../../platform/page.ts';
import {
  DeviceInfo,
  InfoCapHeader,
  IrqInfo,
  RegionInfo,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_OFFSET_SHIFT,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../../../abi/vfio.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { Bar, PciResources } from './resources.ts';
import type { Rom } from './rom.ts';

/** The struct up to num_irqs; later fields came with later kernels. */
const LEAST_DEVICE_INFO = 16;

/**
 * 5.12 writes 16 or 20 bytes; later kernels write as many as argsz has room for (NUM-8). There are
 * no capabilities.
 */
export function getInfo(arg: UserArg, { deviceInfoBytes }: Profile, { flr }: PciResources): number {
  const { argsz } = DeviceInfo.read(padded(arg.copyIn(LEAST_DEVICE_INFO)));
  if (argsz < LEAST_DEVICE_INFO) throw einval(`device info: argsz ${argsz}`);
  const info = DeviceInfo.bytes({
    argsz,
    flags: VFIO_DEVICE_FLAGS_PCI | (flr === undefined ? 0 : VFIO_DEVICE_FLAGS_RESET), // PCI-6
    num_regions: VFIO_PCI_NUM_REGIONS,
    num_irqs: VFIO_PCI_NUM_IRQS,
  });
  const oneStep = deviceInfoBytes === 20 && argsz < 20;
  arg.copyOut(0, info.subarray(0, oneStep ? LEAST_DEVICE_INFO : Math.min(argsz, deviceInfoBytes)));
  return 0;
}

function padded(view: DataView): DataView {
  const whole = new Uint8Array(DeviceInfo.size);
  whole.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  return new DataView(whole.buffer);
}

/**
 * PCI-1. cap_offset stays the caller's where there is no capability. The only one says that the BAR
 * with the MSI-X table can be mapped all the same; where argsz has no room for it, argsz says how
 * much it needs.
 */
export function getRegionInfo(arg: UserArg, resources: PciResources, rom: Rom | undefined): number {
  const asked = arg.read(RegionInfo);
  if (asked.argsz < RegionInfo.size) throw einval(`region info: argsz ${asked.argsz}`);
  const { size, flags } = region(asked.index, resources, rom);
  const offset = BigInt(asked.index) << BigInt(VFIO_PCI_OFFSET_SHIFT);
  const info = { ...asked, flags, size: BigInt(size), offset };
  if ((flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0 && resources.msix?.bar === asked.index) {
    info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    const hasRoom = asked.argsz >= RegionInfo.size + InfoCapHeader.size;
    if (hasRoom)
      arg.copyOut(RegionInfo.size, InfoCapHeader.bytes({ id: VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, version: 1 }));
    else info.argsz = RegionInfo.size + InfoCapHeader.size;
    info.cap_offset = hasRoom ? RegionInfo.size : 0;
  }
  arg.copyOut(0, RegionInfo.bytes(info));
  return 0;
}

/** NOT MODELLED: VGA. */
function region(
  index: number,
  { bars, configSize }: PciResources,
  rom: Rom | undefined,
): { readonly size: number; readonly flags: number } {
  if (index >= VFIO_PCI_VGA_REGION_INDEX) throw einval(`no region ${index}`);
  const readWrite = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  if (index === VFIO_PCI_CONFIG_REGION_INDEX) return { size: configSize, flags: readWrite };
  if (index === VFIO_PCI_ROM_REGION_INDEX && rom?.hasImage()) {
    return { size: rom.size, flags: VFIO_REGION_INFO_FLAG_READ };
  }
  const bar = bars[index];
  if (!bar) return { size: 0, flags: 0 };
  return { size: bar.size, flags: readWrite | (isMappable(bar) ? VFIO_REGION_INFO_FLAG_MMAP : 0) };
}

/**
 * vfio_pci_probe_mmaps: a BAR can be mapped if it is memory and consists of whole pages. A smaller
 * memory BAR can be mapped too, because it is alone in its page (the board aligns BARs to pages).
 */
export const isMappable = ({ space, size }: Bar): boolean =>
  space === 'memory' && (size < PAGE_SIZE || size % PAGE_SIZE === 0);

/** PCI-2. `countOf(index)` returns how many interrupts the index has. */
export function getIrqInfo(
  arg: UserArg,
  resources: PciResources,
  { messageVectors }: Profile,
  countOf: (index: number) => number,
): number {
  const { argsz, index } = arg.read(IrqInfo);
  if (argsz < IrqInfo.size || index >= VFIO_PCI_NUM_IRQS) throw einval(`IRQ info: argsz ${argsz}, index ${index}`);
  if (index === VFIO_PCI_ERR_IRQ_INDEX && !resources.isPcie) throw einval('no error interrupt without PCIe');
  let flags = VFIO_IRQ_INFO_EVENTFD;
  if (index === VFIO_PCI_INTX_IRQ_INDEX) flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
  else if (!(index === VFIO_PCI_MSIX_IRQ_INDEX && resources.msix && messageVectors === 'added')) {
    flags |= VFIO_IRQ_INFO_NORESIZE;
  }
  arg.copyOut(0, IrqInfo.bytes({ argsz, flags, index, count: countOf(index) }));
  return 0;
}
