/**
 * A file of a PCI function: its ioctls, its regions, its mappings (vfio_pci_core_ioctl,
 * vfio_pci_rw, vfio_pci_core_mmap; PCI-1…12).
 */
import { einval, SysError } from '../../../../platform/errno.ts';
import type { EventfdSources } from '../../../../platform/eventfd-source.ts';
import { hex } from '../../../../platform/hex.ts';
import type { PageArena } from '../../../../platform/page-arena.ts';
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_OFFSET_SHIFT,
  VFIO_PCI_ROM_REGION_INDEX,
} from '../../../abi/vfio.ts';
import type { Caller, MappedFile, MmapRequest } from '../../core/open-file.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { DeviceOps, FeatureRequest } from '../device.ts';
import type { BarIo } from './bar-io.ts';
import type { BarMmap } from './bar-mmap.ts';
import { type LowPower, pciFeature } from './feature.ts';
import { getHotResetInfo, hotReset } from './hot-reset.ts';
import { getInfo, getIrqInfo, getRegionInfo } from './info.ts';
import type { Ioeventfds } from './ioeventfd.ts';
import type { Irqs } from './irqs.ts';
import type { Posting } from './posting.ts';
import type { RegisterPages } from './register-pages.ts';
import type { PciResources } from './resources.ts';
import type { Rom } from './rom.ts';
import { parseSetIrqs } from './set-irqs.ts';
import type { VirtualConfig } from './virtual-config.ts';

/** A function that is enabled, as its files see it. */
export interface OpenFunction {
  readonly name: string;
  /** The fd of the function's object. */
  readonly object: number;
  readonly resources: PciResources;
  /** Undefined for a function without expansion ROM. */
  readonly rom: Rom | undefined;
  readonly memoryEnabled: () => boolean;
  readonly profile: Profile;
  readonly sources: EventfdSources;
  readonly irqs: Irqs;
  readonly config: VirtualConfig;
  readonly barIo: BarIo;
  readonly barMmap: BarMmap;
  readonly ioeventfds: Ioeventfds;
  readonly lowPower: LowPower;
  readonly registerPages: RegisterPages;
  readonly posting: Posting;
  /** EINVAL for a device that cannot be reset. */
  reset(): number;
}

export class PciDeviceFile implements DeviceOps {
  readonly name: string;
  readonly object: number;
  readonly #fn: OpenFunction;
  readonly #released: () => void;

  constructor(fn: OpenFunction, released: () => void) {
    this.name = fn.name;
    this.object = fn.object;
    this.#fn = fn;
    this.#released = released;
  }

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    const { profile, resources, rom, irqs, ioeventfds } = this.#fn;
    switch (nr) {
      case VFIO_DEVICE_GET_INFO:
        return getInfo(arg, profile, resources);
      case VFIO_DEVICE_GET_REGION_INFO:
        return getRegionInfo(arg, resources, rom);
      case VFIO_DEVICE_GET_IRQ_INFO:
        return getIrqInfo(arg, resources, profile, (index) => irqs.count(index));
      case VFIO_DEVICE_SET_IRQS:
        return this.#setIrqs(arg, caller);
      case VFIO_DEVICE_RESET:
        return this.#fn.reset();
      case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return getHotResetInfo(arg);
      case VFIO_DEVICE_PCI_HOT_RESET:
        return hotReset(arg, profile);
      case VFIO_DEVICE_IOEVENTFD:
        return ioeventfds.ioctl(arg, caller);
    }
    throw new SysError('ENOTTY', `ioctl ${hex(nr)} on a PCI device`);
  }

  feature(request: FeatureRequest, arg: UserArg, caller: Caller): number {
    const { profile, resources, lowPower, sources } = this.#fn;
    return pciFeature(request, arg, { caller, profile, lowPower, bars: resources.bars, sources });
  }

  #setIrqs(arg: UserArg, caller: Caller): number | Promise<number> {
    const { irqs } = this.#fn;
    const change = parseSetIrqs(arg, (index) => irqs.count(index));
    const arming = irqs.apply(change, caller);
    return arming ? arming.then(() => 0) : 0;
  }

  /** EINVAL for a region that does not exist; there is no VGA. */
  pread(offset: bigint, length: number): Uint8Array {
    const { index, at } = regionOf(offset);
    const { config, barIo, resources, rom, memoryEnabled } = this.#fn;
    if (index === VFIO_PCI_CONFIG_REGION_INDEX) return config.read(at, length);
    if (index === VFIO_PCI_ROM_REGION_INDEX && rom) return rom.read(at, length, memoryEnabled);
    const bar = resources.bars[index];
    if (!bar) throw einval(`no region ${index}`);
    return barIo.read(bar, at, length, resources.msix);
  }

  pwrite(offset: bigint, data: Uint8Array): number {
    const { index, at } = regionOf(offset);
    const { config, barIo, resources } = this.#fn;
    if (index === VFIO_PCI_CONFIG_REGION_INDEX) return config.write(at, data);
    const bar = resources.bars[index];
    if (!bar) throw einval(`no region ${index}`);
    return barIo.write(bar, at, data, resources.msix);
  }

  /** The mapping holds this file until it is gone (CORE-9). */
  mmap(request: MmapRequest, caller: Caller): MappedFile {
    const { index, at } = regionOf(BigInt(request.offset));
    const file = caller.thisFile;
    const mapped = this.#fn.barMmap.mmap(index, { ...request, offset: at }, () => file.put());
    file.get();
    return mapped;
  }

  /** As RegisterPages.open. */
  registerPage(arena: PageArena, pass: (fd: number) => void): () => void {
    return this.#fn.registerPages.open(arena, pass);
  }

  /** As Posting.open. */
  interruptPage(arena: PageArena, pass: (fd: number) => void): () => void {
    return this.#fn.posting.open(arena, pass);
  }

  release(): void {
    this.#released();
  }
}

/** NUM-5: splits a file offset into the region's index and the offset in the region. */
function regionOf(offset: bigint): { readonly index: number; readonly at: number } {
  const shift = BigInt(VFIO_PCI_OFFSET_SHIFT);
  return { index: Number(offset >> shift), at: Number(BigInt.asUintN(VFIO_PCI_OFFSET_SHIFT, offset)) };
}
