/**
 * A client with a container, a kvemu device in it, and memory: the emu_* steps of the recordings as
 * methods.
 */
import { KVEMU_LOG, KVEMU_PIN, KVEMU_RW, KVEMU_UNPIN, KvemuLog, KvemuRw } from '../../../../iommu/abi/kvemu.ts';
import {
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../../iommu/abi/vfio.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../../../platform/memory.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../../vmm/client/dma.ts';
import { kvemuPinArg, kvemuReadArg, kvemuUnpinArg, kvemuWriteArg } from '../../../../vmm/client/drivers/kvemu.ts';
import { containerArg, deviceNameArg } from '../../../../vmm/client/group.ts';
import { type GroupUser, useGroup } from '../group-user.ts';
import { name, type TestClient } from '../test-client.ts';

export const RAM_BYTES = 1 << 20;
export const READ = 1;
export const WRITE = 2;
export const RW = READ | WRITE;
export const VADDR = 4;
export const UNMAP_ALL = 2;

/** A memory object, mapped into this process, which is the client as well. */
export class Memory {
  readonly fd = createMemory('kvemu-client', RAM_BYTES);
  readonly #mapping = new Mapping(this.fd, RAM_BYTES);
  readonly bytes = new Uint8Array(this.#mapping.buffer);

  get vaddr(): number {
    return this.#mapping.vaddr;
  }

  /** The same object at another vaddr. */
  again(): { readonly vaddr: number; release(): void } {
    return new Mapping(this.fd, RAM_BYTES);
  }

  free(): void {
    this.#mapping.release();
    close(this.fd);
  }
}

export class KvemuClient implements GroupUser {
  readonly client: TestClient;
  readonly container: number;
  readonly group: number;
  readonly device: number;

  private constructor({ client, container, group, device }: GroupUser) {
    this.client = client;
    this.container = container;
    this.group = group;
    this.device = device;
  }

  static async open(client: TestClient, groupNumber: number, deviceName: string, iommuType = 3): Promise<KvemuClient> {
    return new KvemuClient(await useGroup(client, groupNumber, deviceName, iommuType));
  }

  /** The device again, after a close; its fd. */
  reopenDevice(deviceName: string): Promise<number> {
    return this.client.ioctl(this.group, VFIO_GROUP_GET_DEVICE_FD, deviceNameArg(deviceName));
  }

  /** Another group into the container; its fd, or −errno. */
  async join(groupNumber: number): Promise<string> {
    const group = await this.client.open(`/dev/vfio/${groupNumber}`);
    return name(await this.client.ioctl(group, VFIO_GROUP_SET_CONTAINER, containerArg(this.container)));
  }

  async map(vaddr: number, iova: number, size: number, flags = RW): Promise<string> {
    const arg = dmaMapArg({ vaddr, iova, size, flags });
    return name(await this.client.ioctl(this.container, VFIO_IOMMU_MAP_DMA, arg));
  }

  async unmap(iova: number, size: number, flags = 0): Promise<string> {
    const arg = dmaUnmapArg({ iova, size }, flags);
    return name(await this.client.ioctl(this.container, VFIO_IOMMU_UNMAP_DMA, arg));
  }

  async pin(iova: number | bigint, npage: number, prot = RW, client = this.client): Promise<string> {
    return name(await client.ioctl(this.device, KVEMU_PIN, kvemuPinArg(iova, npage, prot)));
  }

  async unpin(iova: number, npage: number): Promise<string> {
    return name(await this.client.ioctl(this.device, KVEMU_UNPIN, kvemuUnpinArg(iova, npage)));
  }

  /** The bytes, or −errno. `client`: another thread's channel. */
  async read(iova: number | bigint, length: number, client = this.client): Promise<number[] | string> {
    const arg = kvemuReadArg(iova, length);
    const ret = await client.ioctl(this.device, KVEMU_RW, arg);
    return ret === 0 ? [...arg.subarray(KvemuRw.size)] : name(ret);
  }

  async write(iova: number | bigint, data: readonly number[], client = this.client): Promise<string> {
    return name(await client.ioctl(this.device, KVEMU_RW, kvemuWriteArg(iova, data)));
  }

  async log(): Promise<string> {
    const arg = KvemuLog.bytes({ argsz: 1024 }, 1024);
    const ret = await this.client.ioctl(this.device, KVEMU_LOG, arg);
    if (ret !== 0) return name(ret);
    const { length } = KvemuLog.read(new DataView(arg.buffer));
    return Buffer.from(arg.subarray(KvemuLog.size, KvemuLog.size + length)).toString('latin1');
  }
}
