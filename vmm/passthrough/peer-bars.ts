/**
 * The devices' BARs that are memory (with --peer-bars all, those of registers, too), as targets of
 * each other's DMA. Where the guest lets such a BAR decode, its container maps it at iova = gpa, as
 * it does with RAM. The thread that runs the guest maps and unmaps, because the guest's next
 * instruction may start a DMA. Main knows at rest where the BARs are, and gives the mappings their
 * vaddrs in the next image.
 *
 * A BAR stays mapped into this process as long as its image lives: a mediated device reaches it by
 * the vaddr. NOT MODELLED: the guest moves a BAR in the probation of an update and the new image
 * then dies: the BAR keeps the vaddr of the dead process.
 */
import { VFIO_DMA_MAP_FLAG_VADDR } from '../../iommu/abi/vfio.ts';
import { SysError } from '../../platform/errno.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../platform/libc/mmap.ts';
import { integer, list, nullable, object, type Shaped } from '../../platform/shape.ts';
import { defineShared, float64s, newPart, type SharedPart, within, word64 } from '../../platform/shared.ts';
import type { DeviceDescription, PlacedBar } from '../client/device.ts';
import { type DmaMapping, mapDma, unmapDma } from '../client/dma.ts';
import type { KernelClient } from '../client/kernel-client.ts';
import type { FileCalls } from '../client/task-channel.ts';

const PEER_BAR = object({
  /** Index of the device. */
  device: integer,
  bar: integer,
  size: integer,
  /** null: it is not mapped for DMA. */
  iova: nullable(integer),
});

export const PEER_BARS = list(PEER_BAR);

export type PeerBarState = Shaped<typeof PEER_BAR>;

const Place = defineShared('place of a BAR', {
  vaddr: word64, // main, before a thread has the words
  iova: word64, // the thread that runs the guest; main reads it when that thread is at rest
});

const NOWHERE = -1;

/** All that a thread needs to map the BARs. */
export interface PeerBarParts {
  readonly container: number;
  readonly bars: readonly Omit<PeerBarState, 'iova'>[];
  /** A Place for each. */
  readonly places: SharedPart;
}

const placeAt = (places: SharedPart, index: number): Float64Array =>
  float64s(within(places, index * Place.size, Place.size));

/** The BARs that are targets, before the guest has placed them. */
export function unplaced(
  devices: readonly DeviceDescription[],
  isTarget: (device: DeviceDescription, bar: number) => boolean,
): PeerBarState[] {
  return devices.flatMap((description, device) =>
    description.bars.flatMap(({ size }, bar) =>
      size > 0 && isTarget(description, bar) ? [{ device, bar, size, iova: null }] : [],
    ),
  );
}

/** Main's side. */
export class PeerBars {
  readonly parts: PeerBarParts;
  readonly #forgotten = new Set<number>();

  /** Maps the BARs into this process. Throws as mmap of a device fd. */
  constructor(
    client: Pick<KernelClient, 'mmap'>,
    container: number,
    devices: readonly DeviceDescription[],
    states: readonly PeerBarState[],
  ) {
    const places = newPart(states.length * Place.size);
    states.forEach(({ device, bar, size, iova }, i) => {
      const { fd, bars } = devices[device]!;
      const prot = PROT_READ | PROT_WRITE;
      const words = placeAt(places, i);
      words[Place.word64.vaddr] = client.mmap({
        ...{ fd, offset: bars[bar]!.offset, length: size, prot, flags: MAP_SHARED },
      });
      words[Place.word64.iova] = iova ?? NOWHERE;
    });
    this.parts = { container, bars: states.map(({ device, bar, size }) => ({ device, bar, size })), places };
  }

  /** The guest is at rest. */
  save(): PeerBarState[] {
    return this.#kept().map(({ bar, iova }) => ({ ...bar, iova: iova === NOWHERE ? null : iova }));
  }

  #kept(): { readonly bar: Omit<PeerBarState, 'iova'>; readonly iova: number; readonly vaddr: number }[] {
    const { bars, places } = this.parts;
    return bars.flatMap((bar, i) => {
      const words = placeAt(places, i);
      if (this.#forgotten.has(bar.device)) return [];
      return [{ bar, iova: words[Place.word64.iova]!, vaddr: words[Place.word64.vaddr]! }];
    });
  }

  /** The device goes: nobody reaches its BARs, and this process does not map them any more. */
  forget(client: Pick<KernelClient, 'munmap' | 'ioctl' | 'ioctls' | 'pread' | 'pwrite'>, device: number): void {
    for (const { bar, iova, vaddr } of this.#kept()) {
      if (bar.device !== device) continue;
      if (iova !== NOWHERE) unmapDma(client, this.parts.container, { iova, size: bar.size });
      client.munmap(vaddr, bar.size);
    }
    this.#forgotten.add(device);
  }

  /** The mappings for DMA, with the vaddrs of this process. The guest is at rest. */
  mappings(): DmaMapping[] {
    return this.#kept().flatMap(({ bar: { size }, iova, vaddr }) =>
      iova === NOWHERE ? [] : [{ iova, size, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR }],
    );
  }
}

/**
 * The BARs of one device answer at these places and nowhere else. Where a mapping is refused (the
 * place is RAM, or no valid iova), no device reaches the BAR.
 */
export function placeBars(
  { container, bars, places }: PeerBarParts,
  device: number,
  calls: FileCalls,
  at: readonly PlacedBar[],
): void {
  bars.forEach((one, i) => {
    if (one.device !== device) return;
    const words = placeAt(places, i);
    const { size } = one;
    const was = words[Place.word64.iova]!;
    const iova = at.find(({ bar }) => bar === one.bar)?.base ?? NOWHERE;
    if (iova === was) return;
    if (was !== NOWHERE) unmapDma(calls, container, { iova: was, size });
    words[Place.word64.iova] = NOWHERE;
    if (iova !== NOWHERE && canMap(calls, container, { iova, size, vaddr: words[Place.word64.vaddr]! })) {
      words[Place.word64.iova] = iova;
    }
  });
}

function canMap(calls: FileCalls, container: number, mapping: DmaMapping): boolean {
  try {
    mapDma(calls, container, mapping);
    return true;
  } catch (error) {
    if (!(error instanceof SysError) || error.code === 'EPIPE') throw error;
    return false;
  }
}
