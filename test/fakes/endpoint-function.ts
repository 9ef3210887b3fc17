/**
 * A device of the kit behind vfio-pci, in process: what it stores at the doorbell's page rings
 * there.
 */
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import type { DeviceType } from '../../devices/kit/device.ts';
import { Endpoint } from '../../devices/kit/endpoint.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { type Halves, REGION_CONFIG } from '../../platform/mailbox.ts';

export class EndpointFunction implements PciAccess {
  /** The numbers of the messages go here. */
  ring: (number: number) => void = () => undefined;
  /** Page numbers of the messages' addresses. */
  readonly pages = new Set<number>();
  /** Dwords of configuration space that read otherwise. */
  readonly override = new Map<number, number>();
  readonly control = new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES));
  readonly #endpoint: Endpoint;

  constructor(type: DeviceType, properties: Readonly<Record<string, string>>, rom?: Uint8Array) {
    const dma = {
      read: () => 0,
      write: () => 0,
      write32: (vpn: number, _offset: number, value: number) => {
        this.pages.add(vpn);
        this.ring(value);
        return true;
      },
      idle: () => undefined,
    };
    this.#endpoint = new Endpoint(
      type,
      {
        dma,
        line: { assert: () => undefined, deassert: () => undefined },
        clock: () => 0,
        timeline: { record: () => undefined },
        control: this.control,
        memoryBars: { setDecoding: () => undefined },
        rom,
      },
      properties,
    );
    this.#endpoint.boot({ 0: 0xc000_0000, 1: 0xc010_0000, ...(rom ? { 6: 0xc020_0000 } : {}) }, 10);
  }

  readConfig(offset: number, size: number): number {
    const other = this.override.get(offset & ~3);
    if (other !== undefined) return (other >>> (8 * (offset & 3))) & (size === 4 ? -1 : 2 ** (8 * size) - 1);
    const { lo } = this.#endpoint.read(REGION_CONFIG, offset, size);
    return size === 4 ? lo : lo & (2 ** (8 * size) - 1);
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.#endpoint.write(REGION_CONFIG, offset, size, value >>> 0, 0);
  }

  readBar(bar: number, offset: number, size: number): Halves {
    return this.#endpoint.read(bar, offset, size);
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.#endpoint.write(bar, offset, size, lo, hi);
  }
}
