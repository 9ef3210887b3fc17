/**
 * What a virtio device shows in PCI configuration space (virtio 1.3 §4.1.2, §4.1.4): who it is, and
 * by capabilities where its structures are. They lie where QEMU has them.
 */
import { PCI_CAP_ID_VNDR } from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace, Identity } from '../kit/config-space.ts';
import { COMMON, DEVICE, ISR, NOTIFY, NOTIFY_MULTIPLIER, VIRTIO_BAR, VIRTIO_BAR_SIZE } from './structures.ts';

const LENGTH = 16;
const PCI_CFG = { type: 5, offset: 0, length: 0 };

/** Where the fields of a capability are (§4.1.4, struct virtio_pci_cap). */
const [CAP_LEN, CFG_TYPE, BAR, OFFSET, FIELD_LENGTH] = [2, 3, 4, 8, 12];
/** The capability by which BARs can be reached through configuration space, and its data. */
const WINDOW = 0x84;
const WINDOW_DATA = WINDOW + LENGTH;

export const virtioIdentity = ({ id, classCode }: { readonly id: number; readonly classCode: number }): Identity => ({
  vendor: 0x1af4,
  device: 0x1040 + id,
  classCode,
  revision: 1,
  subsystemVendor: 0x1af4, // QEMU's defaults
  subsystem: 0x1100,
  interruptPin: 1,
});

/** Adds them: they must be the first ones of the function. */
export function addVirtioCapabilities(config: ConfigSpace): void {
  for (const structure of [COMMON, ISR, DEVICE]) addCapability(config, structure, LENGTH);
  const notify = addCapability(config, NOTIFY, LENGTH + 4);
  config.set(notify + LENGTH, 4, NOTIFY_MULTIPLIER);
  const window = addCapability(config, PCI_CFG, LENGTH + 4);
  if (window !== WINDOW) throw new RangeError('virtio: other capabilities came first');
  config.set(WINDOW + BAR, 1, 0);
  config.allow(WINDOW + BAR, 1, 0xff);
  for (const at of [OFFSET, FIELD_LENGTH, LENGTH]) config.allow(WINDOW + at, 4, 0xffff_ffff);
}

function addCapability(
  config: ConfigSpace,
  { type, offset, length }: { readonly type: number; readonly offset: number; readonly length: number },
  size: number,
): number {
  const at = config.addCapability(PCI_CAP_ID_VNDR, size);
  config.set(at + CAP_LEN, 1, size);
  config.set(at + CFG_TYPE, 1, type);
  config.set(at + BAR, 1, VIRTIO_BAR);
  config.set(at + OFFSET, 4, offset);
  config.set(at + FIELD_LENGTH, 4, length);
  return at;
}

/** Access to the structures in BAR 4. */
export interface BarAccess {
  read(at: number, size: number): number;
  write(at: number, value: number): void;
}

/**
 * Accesses through configuration space (§4.1.4.9). The capability's bar, offset and length name a
 * place in a BAR. An access to the capability's data is made there.
 */
export class ConfigWindow {
  readonly #config: ConfigSpace;
  readonly #bar: BarAccess;

  constructor(config: ConfigSpace, bar: BarAccess) {
    this.#config = config;
    this.#bar = bar;
  }

  /** Before a configuration read at `offset`. */
  beforeRead(offset: number): void {
    if (offset !== WINDOW_DATA) return;
    this.#access((at, size) => this.#config.set(WINDOW_DATA, 4, this.#bar.read(at, size)));
  }

  /** After a configuration write at `offset`. */
  written(offset: number): void {
    if (offset !== WINDOW_DATA) return;
    this.#access((at, size) => this.#bar.write(at, this.#config.get(WINDOW_DATA, size)));
  }

  #access(make: (at: number, size: number) => void): void {
    const bar = this.#config.get(WINDOW + BAR, 1);
    const at = this.#config.get(WINDOW + OFFSET, 4);
    const size = this.#config.get(WINDOW + FIELD_LENGTH, 4);
    const fits = [1, 2, 4].includes(size) && at % size === 0 && at + size <= VIRTIO_BAR_SIZE;
    if (bar === VIRTIO_BAR && fits) make(at, size);
  }
}
