/**
 * The registers of a virtio device on PCI, in BAR 4 (virtio 1.3 §4.1.4.3 to §4.1.4.5): the common
 * configuration, and behind it what interrupts and what notifies. The configuration of the device's
 * kind (§5) is at CONFIG_AT.
 */
import { defineRegisters } from '../kit/registers.ts';
import { EVERY_DEVICE, type VirtioKind } from './device.ts';

/** No vector (§4.1.5.1.2). */
export const NO_VECTOR = 0xffff;
export const CONFIG_AT = 0x2000;

const word = { access: 'rw', computed: true, reset: 0 } as const;
const short = { ...word, width: 2 } as const;
const byte = { ...word, width: 1 } as const;
const address = { ...word, count: 2 } as const;

const lowHalf = (bits: bigint): number => Number(BigInt.asUintN(32, bits));

/** The registers of a device of this kind, before a driver has come. */
export const virtioRegisters = ({ queueSizes, features }: Pick<VirtioKind, 'queueSizes' | 'features'>) =>
  defineRegisters('zeros', {
    DEVICE_FEATURE_SELECT: { ...word, at: 0x00, what: 'which 32 feature bits DEVICE_FEATURE shows' },
    DEVICE_FEATURE: {
      ...word,
      at: 0x04,
      access: 'ro',
      reset: lowHalf(features | EVERY_DEVICE),
      what: 'features that are offered',
    },
    DRIVER_FEATURE_SELECT: { ...word, at: 0x08, what: 'which 32 feature bits DRIVER_FEATURE shows' },
    DRIVER_FEATURE: { ...word, at: 0x0c, what: 'features that the driver accepts' },
    CONFIG_MSIX_VECTOR: { ...short, at: 0x10, reset: NO_VECTOR, what: 'MSI-X vector of the device; 0xffff: none' },
    NUM_QUEUES: { ...short, at: 0x12, access: 'ro', reset: queueSizes.length, what: 'number of queues' },
    DEVICE_STATUS: {
      ...byte,
      at: 0x14,
      what: 'bit 0 ACKNOWLEDGE, 1 DRIVER, 2 DRIVER_OK, 3 FEATURES_OK, 6 NEEDS_RESET',
    },
    CONFIG_GENERATION: { ...byte, at: 0x15, access: 'ro', what: '0: the configuration never changes' },
    QUEUE_SELECT: { ...short, at: 0x16, what: 'the queue that the registers below are of' },
    QUEUE_SIZE: { ...short, at: 0x18, reset: queueSizes[0]!, what: 'entries of its rings, a power of two' },
    QUEUE_MSIX_VECTOR: { ...short, at: 0x1a, reset: NO_VECTOR, what: 'its MSI-X vector; 0xffff: none' },
    QUEUE_ENABLE: { ...short, at: 0x1c, what: '1: it is used; only a reset takes that back' },
    QUEUE_NOTIFY_OFF: { ...short, at: 0x1e, access: 'ro', what: 'the number of its QUEUE_NOTIFY' },
    QUEUE_DESC: { ...address, at: 0x20, what: 'bus address of its descriptors, low half first' },
    QUEUE_DRIVER: { ...address, at: 0x28, what: 'of what the driver makes available' },
    QUEUE_DEVICE: { ...address, at: 0x30, what: 'of what the device has used' },
    ISR: { ...byte, at: 0x1000, access: 'ro', what: 'bit 0 a queue, 1 the device; a read clears it and lowers INTx' },
    QUEUE_NOTIFY: { at: 0x3000, access: 'wo', count: queueSizes.length, what: 'buffers were added to the queue' },
  });

/** Offsets. */
export const REG = virtioRegisters({ queueSizes: [0], features: 0n }).at;
