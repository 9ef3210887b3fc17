/** Calls on a kvemu device fd (iommu/abi/kvemu.ts). */
import { KVEMU_PIN, KVEMU_RW, KVEMU_UNPIN, KvemuPin, KvemuRw, KvemuUnpin } from '../../iommu/abi/kvemu.ts';
import type { KernelClient } from '../../vmm/client/kernel-client.ts';

const READ_WRITE = 3;

/** vfio_dma_rw */
export function readThroughKvemu(client: KernelClient, device: number, iova: number, length: number): void {
  const argsz = KvemuRw.size + length;
  client.ioctl(device, KVEMU_RW, KvemuRw.bytes({ argsz, iova: BigInt(iova), size: BigInt(length) }, argsz));
}

export function pinAndUnpin(client: KernelClient, device: number, iova: number, npage: number): void {
  const range = { iova: BigInt(iova), npage };
  client.ioctl(device, KVEMU_PIN, KvemuPin.bytes({ argsz: KvemuPin.size, prot: READ_WRITE, ...range }));
  client.ioctl(device, KVEMU_UNPIN, KvemuUnpin.bytes({ argsz: KvemuUnpin.size, ...range }));
}
