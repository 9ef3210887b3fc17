/** edu as an actor drives it: one copy from iova to iova through the device's buffer. */
import { monotonicNs } from '../../../platform/clock.ts';
import { Edu, type EduTransfer } from '../../../vmm/client/drivers/edu.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import type { DeviceFile } from './device-file.ts';

/**
 * End of the iovas that edu is given. They lie below 2^32, because a kernel that writes BARs in
 * pieces of 4 bytes would lose the upper half.
 */
export const EDU_END_VPN = 2 ** 20;

const PATIENCE_NS = 20e9;

export interface Copy {
  readonly source: number;
  readonly destination: number;
  readonly length: number;
  /** Whether edu raises an interrupt after each half of the copy. */
  readonly interrupts: boolean;
}

export class Copier {
  readonly file: DeviceFile;
  readonly #edu: Edu;
  readonly #log: EventLog;

  constructor(file: DeviceFile, log: EventLog) {
    this.file = file;
    this.#edu = new Edu(file.registers);
    this.#log = log;
  }

  copy({ source, destination, length, interrupts }: Copy): void {
    this.#transfer({ direction: 'from-bus', iova: source, length, interrupt: interrupts });
    this.#transfer({ direction: 'to-bus', iova: destination, length, interrupt: interrupts });
    if (interrupts) this.acknowledge();
  }

  acknowledge(): void {
    this.#edu.acknowledge();
  }

  /** Does `work` while the first half of the copy is under way. */
  during({ source, destination, length, interrupts }: Copy, work: () => void): void {
    this.#edu.start({ direction: 'from-bus', iova: source, length, interrupt: interrupts });
    work();
    this.#untilDone();
    this.#transfer({ direction: 'to-bus', iova: destination, length, interrupt: interrupts });
  }

  #transfer(transfer: EduTransfer): void {
    this.#edu.start(transfer);
    this.#untilDone();
  }

  #untilDone(): void {
    const deadline = monotonicNs() + PATIENCE_NS;
    while (this.#edu.isTransferring()) {
      if (this.#log.beat() > deadline) throw new Violation('6', `${this.file.name}: a transfer does not end`);
    }
  }
}
