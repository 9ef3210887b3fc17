/**
 * System calls on a kvemu device fd, by which the driver of a mediated device uses VFIO. Each
 * function makes one ioctl (iommu/abi/kvemu.ts).
 */
import {
  KVEMU_PIN,
  KVEMU_RW,
  KVEMU_RW_FLAG_WRITE,
  KVEMU_UNPIN,
  KvemuPin,
  KvemuRw,
  KvemuUnpin,
} from '../../../iommu/abi/kvemu.ts';
import type { FileCalls } from '../task-channel.ts';

const READ_WRITE = 3;

/** The argument of KVEMU_RW that reads `length` bytes. The bytes follow the struct. */
export function kvemuReadArg(iova: number | bigint, length: number): Uint8Array {
  const argsz = KvemuRw.size + length;
  return KvemuRw.bytes({ argsz, iova: BigInt(iova), size: BigInt(length) }, argsz);
}

/** The argument of KVEMU_RW that writes `data`. */
export function kvemuWriteArg(iova: number | bigint, data: ArrayLike<number>): Uint8Array {
  const argsz = KvemuRw.size + data.length;
  const fields = { argsz, flags: KVEMU_RW_FLAG_WRITE, iova: BigInt(iova), size: BigInt(data.length) };
  const arg = KvemuRw.bytes(fields, argsz);
  arg.set(data, KvemuRw.size);
  return arg;
}

/** vfio_dma_rw for a read. It sleeps while a vaddr is invalid (5.12). */
export function kvemuRead(calls: FileCalls, device: number, iova: number | bigint, length: number): Uint8Array {
  const arg = kvemuReadArg(iova, length);
  calls.ioctl(device, KVEMU_RW, arg);
  return arg.subarray(KvemuRw.size);
}

/** struct kvemu_pin; `prot` is IOMMU_READ 1 | IOMMU_WRITE 2. */
export function kvemuPinArg(iova: number | bigint, npage: number, prot = READ_WRITE): Uint8Array {
  return KvemuPin.bytes({ argsz: KvemuPin.size, iova: BigInt(iova), npage, prot });
}

/** struct kvemu_unpin */
export function kvemuUnpinArg(iova: number | bigint, npage: number): Uint8Array {
  return KvemuUnpin.bytes({ argsz: KvemuUnpin.size, iova: BigInt(iova), npage });
}

/** vfio_pin_pages of `npage` pages from `iova` on. */
export function kvemuPin(calls: FileCalls, device: number, iova: number | bigint, npage: number): void {
  calls.ioctl(device, KVEMU_PIN, kvemuPinArg(iova, npage));
}

/** vfio_unpin_pages of pages that kvemuPin() has pinned. */
export function kvemuUnpin(calls: FileCalls, device: number, iova: number | bigint, npage: number): void {
  calls.ioctl(device, KVEMU_UNPIN, kvemuUnpinArg(iova, npage));
}
