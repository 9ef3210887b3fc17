/**
 * What a vCPU publishes at the end of each slice: all of its machine that does not lie in shared
 * words, or that is newer there.
 */
import { HART_SECTION } from '../../guest/riscv/state.ts';
import { einval } from '../../platform/errno.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Section, Versioned } from '../../platform/section.ts';
import { flag, integer, list, object, type Shape } from '../../platform/shape.ts';
import { VCPU_SECTION } from '../machine/hart-local/hart-local.ts';
import { IMSIC_SECTION, type ImsicState } from '../machine/hart-local/imsic.ts';
import type { MachineState } from '../machine/machine.ts';
import { APLIC_SECTION } from '../machine/shared/aplic.ts';
import { CLINT_SECTION } from '../machine/shared/clint.ts';
import { SHARES_SECTION } from '../machine/shared/exported-tree.ts';
import { FW_CFG_SECTION } from '../machine/shared/fw-cfg.ts';
import { IOMMU_SECTION } from '../machine/shared/guest-iommu.ts';
import { ICOUNT_SECTION } from '../machine/shared/icount.ts';
import { PLIC_SECTION } from '../machine/shared/plic.ts';
import { RTC_SECTION } from '../machine/shared/rtc.ts';
import { SEMIHOSTING_SECTION } from '../machine/shared/semihosting.ts';
import { PCI_SECTION } from '../machine/shared/shared-machine.ts';
import { STREAMS_SECTION } from '../machine/shared/socket-stream.ts';
import { UART_SECTION } from '../machine/shared/uart.ts';
import { VIRTIO_SECTION } from '../machine/shared/virtio-devices.ts';

export interface PublishedVm {
  /** The machine was about to be reset: whoever goes on resets it and fills RAM. */
  readonly reset: boolean;
  readonly machine: MachineState;
  /** By hart. The pending bits are newer in shared memory. */
  readonly interruptFiles: readonly ImsicState[];
  /** Bytes of console input that the guest has taken out of the ring (ConsoleInput). */
  readonly inputTaken: number;
  /** Bytes that stdout had taken when `uart.unsent` was saved (ConsoleOutput). */
  readonly outputSent: number;
}

const section =
  <S extends Versioned>(of: Section<S>): Shape<S> =>
  (value, at) => {
    if (typeof value !== 'object' || value === null || !('version' in value)) throw einval(`${at}: no section`);
    return of.decode(value as Versioned);
  };

const shape: Shape<PublishedVm> = object({
  reset: flag,
  machine: object(
    {
      harts: list(object({ vcpu: section(VCPU_SECTION), hart: section(HART_SECTION), clint: section(CLINT_SECTION) })),
      uart: section(UART_SECTION),
      pci: section(PCI_SECTION),
    },
    {
      plic: section(PLIC_SECTION),
      aplic: section(APLIC_SECTION),
      rtc: section(RTC_SECTION),
      virtio: section(VIRTIO_SECTION),
      iommu: section(IOMMU_SECTION),
      fwCfg: section(FW_CFG_SECTION),
      semihosting: section(SEMIHOSTING_SECTION),
      streams: section(STREAMS_SECTION),
      icount: section(ICOUNT_SECTION),
      shares: section(SHARES_SECTION),
    },
  ),
  interruptFiles: list(section(IMSIC_SECTION)),
  inputTaken: integer,
  outputSent: integer,
});

export const encodePublished = (vm: PublishedVm): Uint8Array => pack(vm);

/** EINVAL: another build wrote it, and this one does not know a version or a shape in it. */
export function decodePublished(bytes: Uint8Array): PublishedVm {
  let body: unknown;
  try {
    body = unpack(bytes);
  } catch (error) {
    throw einval(`the published state is not msgpack (${(error as Error).message})`);
  }
  return shape(body, 'published state');
}
