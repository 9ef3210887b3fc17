/** edu as an actor drives it: one copy from iova to iova through its buffer. */
import {
  BUFFER_START,
  DMA_IRQ,
  DMA_RUN,
  DMA_TO_BUS,
  REG_DMA_COMMAND,
  REG_DMA_COUNT,
  REG_DMA_DESTINATION,
  REG_DMA_SOURCE,
  REG_IRQ_ACK,
  REG_IRQ_STATUS,
} from '../../../devices/edu/regs.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import type { DeviceFile } from './device-file.ts';

const RUN = Number(DMA_RUN);
const TO_BUS = Number(DMA_TO_BUS);
const IRQ = Number(DMA_IRQ);
const BUFFER = Number(BUFFER_START);

/** Iovas it is given: below 2^32, because a kernel that writes BARs in pieces of 4 bytes would lose the upper half. */
export const EDU_END_VPN = 2 ** 20;

const PATIENCE_NS = 20e9;

export interface Copy {
  readonly source: number;
  readonly destination: number;
  readonly length: number;
  /** Raises an interrupt after each half. */
  readonly interrupts: boolean;
}

export class Edu {
  readonly file: DeviceFile;
  readonly #log: EventLog;

  constructor(file: DeviceFile, log: EventLog) {
    this.file = file;
    this.#log = log;
  }

  copy({ source, destination, length, interrupts }: Copy): void {
    const irq = interrupts ? IRQ : 0;
    this.#transfer(source, BUFFER, length, RUN | irq);
    this.#transfer(BUFFER, destination, length, RUN | TO_BUS | irq);
    if (interrupts) this.acknowledge();
  }

  acknowledge(): void {
    this.file.writeRegister(REG_IRQ_ACK, this.file.readRegister(REG_IRQ_STATUS));
  }

  #transfer(source: number, destination: number, length: number, command: number): void {
    const { file } = this;
    file.writeRegister(REG_DMA_SOURCE, source);
    file.writeRegister(REG_DMA_DESTINATION, destination);
    file.writeRegister(REG_DMA_COUNT, length);
    file.writeRegister(REG_DMA_COMMAND, command);
    const deadline = monotonicNs() + PATIENCE_NS;
    while ((file.readRegister(REG_DMA_COMMAND) & RUN) !== 0) {
      if (this.#log.beat() > deadline) throw new Violation('6', `${file.name}: a transfer does not end`);
    }
  }
}
