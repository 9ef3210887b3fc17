/** One container with type1 behind it, driven by uapi structs as its fd would be. */

import {
  DmaUnmap,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
} from '../../../../../iommu/abi/vfio.ts';
import { type PeerMappings, type ProfileName, profileOf } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import type { RiscvIommu } from '../../../../../iommu/kernel/driver/riscv-iommu.ts';
import type { IommuGroup, RwRequest } from '../../../../../iommu/kernel/vfio/container-iommu.ts';
import { type Type1, Type1Driver } from '../../../../../iommu/kernel/vfio/type1/type1.ts';
import type { Type1Parameters } from '../../../../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { SysError } from '../../../../../platform/errno.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../../../vmm/client/dma.ts';
import { FakeMachine, FakeProcess, type MachineOptions } from '../../../../fakes/fake-machine.ts';

export const READ = 1;
export const WRITE = 2;
export const RW = READ | WRITE;
export const VADDR = 4;
export const ALL = VFIO_DMA_UNMAP_FLAG_ALL;
export const UNMAP_VADDR = 4;
export const DID = 0x20;

export interface ContainerOptions {
  readonly profile?: ProfileName;
  /** In place of the profile's. */
  readonly peerMappings?: PeerMappings;
  readonly v2?: boolean;
  /** Default true: a group behind the machine's IOMMU is attached. */
  readonly real?: boolean;
  readonly parameters?: Type1Parameters;
  /** Default: all work is done in one go. 0: a pause wherever one may be. */
  readonly sliceMs?: number;
  readonly machine?: MachineOptions;
}

type Bytes = number | bigint;

export class TestContainer {
  readonly machine: FakeMachine;
  readonly driver: Type1Driver;
  readonly type1: Type1;
  readonly process = new FakeProcess(100);
  readonly realGroup: IommuGroup;
  readonly emulatedGroup: IommuGroup = { id: 7, dids: [] };
  /** SET_IOMMU of another container. */
  readonly open: (iommuType: number) => Type1;

  constructor({ profile = '6.12', v2 = true, real = true, ...options }: ContainerOptions = {}) {
    const { parameters, sliceMs, machine = {}, peerMappings } = options;
    const answers = { ...profileOf(profile), ...(peerMappings ? { peerMappings } : {}) };
    this.machine = new FakeMachine({
      ...machine,
      driver: { outsideAperture: answers.replayOutsideAperture, ...machine.driver },
    });
    this.driver = new Type1Driver({
      profile: answers,
      pinner: this.machine.pinner,
      ...(parameters ? { parameters } : {}),
      ...(sliceMs === undefined ? {} : { sliceMs }),
    });
    this.open = (iommuType) => this.driver.open(iommuType);
    this.type1 = this.driver.open(v2 ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU);
    this.realGroup = this.group(1, [DID]);
    if (real) this.type1.attachGroup(this.realGroup, this.process.task());
  }

  group(id: number, dids: readonly number[], iommuDevice: RiscvIommu = this.machine.driver): IommuGroup {
    return { id, dids, iommuDevice };
  }

  /** A memfd of `size` bytes, mapped into the process. */
  memory(size: number): number {
    return this.process.space.map(this.machine.object(size));
  }

  map(iova: Bytes, size: Bytes, vaddr: Bytes, flags = RW, process = this.process): void {
    const arg = dmaMapArg({ iova, size, vaddr, flags });
    this.type1.ioctl(VFIO_IOMMU_MAP_DMA, new UserArg(arg), process.task());
  }

  /** Bytes that were unmapped. Only where no driver has to unpin asynchronously. */
  unmap(iova: Bytes, size: Bytes, flags = 0, process = this.process): bigint {
    const arg = new UserArg(dmaUnmapArg({ iova, size }, flags));
    const sleeping = this.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, process.task());
    if (typeof sleeping !== 'number') throw new Error('UNMAP_DMA sleeps');
    return DmaUnmap.read(new DataView(arg.output()!.slice().buffer)).size;
  }

  unmapAll(): bigint {
    return this.unmap(0, 0, ALL);
  }

  /** dma_rw, also where it need not wait. */
  async access(request: RwRequest): Promise<boolean> {
    return this.type1.dmaRw(request);
  }

  /** IOMMU_GET_INFO: the caller's bytes afterwards, 0xee where nothing was written. */
  info(argsz: number): Uint8Array {
    const bytes = new Uint8Array(256).fill(0xee);
    new DataView(bytes.buffer).setUint32(0, argsz, true);
    const arg = new UserArg(bytes);
    this.type1.ioctl(VFIO_IOMMU_GET_INFO, arg, this.process.task());
    bytes.set(arg.output()!);
    return bytes;
  }

  dmaAvail(): number {
    const caps = new DataView(this.info(256).buffer);
    return caps.getUint32(56 + 8, true);
  }

  /** Whether the device can write at iova. */
  reaches(iova: number, did = DID): boolean {
    const port = this.machine.port(did);
    const done = port.write(iova / 4096, 0, Uint8Array.of(0xa5));
    port.idle();
    return done === 1;
  }

  /** The byte the device reads at iova; undefined if it may not. */
  peek(iova: number, did = DID): number | undefined {
    const port = this.machine.port(did);
    const bytes = new Uint8Array(1);
    const done = port.read(iova / 4096, 0, bytes);
    port.idle();
    return done === 1 ? bytes[0] : undefined;
  }

  close(): void {
    this.type1.release();
    this.machine.close();
  }
}

/** The errno's name that a call fails with, or 'ok'. */
export function errnoOf(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}
