/**
 * VFIO_DEVICE_IOEVENTFD: the kernel makes a write to a BAR whenever an eventfd is signalled
 * (vfio_pci_ioeventfd; PCI-7).
 */
import { eexist, einval, enodev, enospc } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import {
  DeviceIoeventfd,
  VFIO_DEVICE_IOEVENTFD_SIZE_MASK,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_OFFSET_SHIFT,
} from '../../../abi/vfio.ts';
import type { Caller } from '../../core/open-file.ts';
import type { Profile } from '../../core/profile.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { Virqfds, VirqfdWatch } from '../virqfd/virqfd.ts';
import type { BarIo } from './bar-io.ts';
import type { PciResources } from './resources.ts';

/** The size of the struct up to fd; the rest came with later kernels. */
const LEAST_BYTES = DeviceIoeventfd.offset.fd + 4;
const MAX_IOEVENTFDS = 1000;

interface Ioeventfd {
  readonly bar: number;
  readonly offset: number;
  readonly size: number;
  readonly data: bigint;
  readonly watch: VirqfdWatch;
}

export interface IoeventfdOptions {
  readonly resources: PciResources;
  readonly profile: Profile;
  readonly barIo: BarIo;
  readonly virqfds: Virqfds;
}

export class Ioeventfds {
  readonly #options: IoeventfdOptions;
  #list: readonly Ioeventfd[] = [];

  constructor(options: IoeventfdOptions) {
    this.#options = options;
  }

  /** Returns a promise when an ioeventfd is added, because a thread may start. */
  ioctl(arg: UserArg, caller: Caller): number | Promise<number> {
    const bytes = new Uint8Array(DeviceIoeventfd.size);
    const given = arg.copyIn(LEAST_BYTES);
    bytes.set(new Uint8Array(given.buffer, given.byteOffset, LEAST_BYTES));
    const { argsz, flags, offset, data, fd } = DeviceIoeventfd.read(new DataView(bytes.buffer));
    if (argsz < LEAST_BYTES || (flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK) !== 0) {
      throw einval(`ioeventfd: argsz ${argsz}, flags ${hex(flags)}`);
    }
    const size = flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK; // each flag is its width in bytes
    if (![1, 2, 4, 8].includes(size) || fd < -1) throw einval(`ioeventfd: flags ${hex(flags)}, fd ${fd}`);
    const added = this.#change({ offset, size, data, fd }, caller);
    return added ? added.armed.then(() => 0) : 0;
  }

  /** Adds or removes an ioeventfd. Returns the watch of a new one. */
  #change(wanted: { offset: bigint; size: number; data: bigint; fd: number }, caller: Caller): VirqfdWatch | undefined {
    const { size, data, fd } = wanted;
    const index = Number(wanted.offset >> BigInt(VFIO_PCI_OFFSET_SHIFT));
    const offset = Number(BigInt.asUintN(VFIO_PCI_OFFSET_SHIFT, wanted.offset));
    this.#check(index, offset, size);
    const same = this.#list.find(
      (one) => one.bar === index && one.offset === offset && one.size === size && one.data === data,
    );
    if (same) {
      if (fd !== -1) throw eexist('such an ioeventfd exists');
      this.#list = this.#list.filter((one) => one !== same);
      same.watch.close();
      return undefined;
    }
    if (fd < 0) throw enodev('no such ioeventfd');
    if (this.#list.length >= MAX_IOEVENTFDS) throw enospc(`more than ${MAX_IOEVENTFDS} ioeventfds`);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, data, true);
    const write = (): void => this.#write(index, offset, bytes.subarray(0, size));
    const watch = this.#options.virqfds.watch(caller.eventfdToWatch(fd), write);
    this.#list = [...this.#list, { bar: index, offset, size, data, watch }];
    return watch;
  }

  #check(index: number, offset: number, size: number): void {
    const { resources, profile } = this.#options;
    if (index > VFIO_PCI_BAR5_REGION_INDEX) throw einval(`ioeventfd in region ${index}`);
    if (offset + size > (resources.bars[index]?.size ?? 0)) throw einval(`ioeventfd outside of BAR ${index}`);
    if (profile.ioeventfd8 === 'refused' && size === 8) throw einval(`ioeventfd of ${size} bytes`);
    const { msix } = resources;
    if (msix?.bar === index && offset + size > msix.offset && offset < msix.offset + msix.size) {
      throw einval('ioeventfd in the MSI-X table');
    }
  }

  /**
   * The write is lost while memory decoding is off: vfio_pci_ioeventfd_thread tests it and has no
   * caller to report to.
   */
  #write(index: number, offset: number, data: Uint8Array): void {
    const { resources, barIo } = this.#options;
    barIo.tryWrite(resources.bars[index]!, offset, data);
  }

  closeAll(): void {
    for (const { watch } of this.#list) watch.drop();
    this.#list = [];
  }
}
