/** An edu device as a DMA engine between its buffer and the bus. */
import {
  BUFFER_START,
  DMA_RUN,
  DMA_TO_BUS,
  REG_DMA_COMMAND,
  REG_DMA_COUNT,
  REG_DMA_DESTINATION,
  REG_DMA_SOURCE,
} from '../../../devices/edu/regs.ts';
import type { VfioDevice } from '../../../vmm/client/device.ts';
import { read32, write32 } from './script.ts';

export interface EduDma {
  /** From the bus at `iova` to the buffer; back when it is done. */
  read(iova: number, count: number): void;
  write(iova: number, count: number): void;
}

export function edu(device: VfioDevice): EduDma {
  const run = (source: number, destination: number, count: number, command: bigint): void => {
    write32(device, REG_DMA_SOURCE, source);
    write32(device, REG_DMA_DESTINATION, destination);
    write32(device, REG_DMA_COUNT, count);
    write32(device, REG_DMA_COMMAND, Number(command));
    while ((read32(device, REG_DMA_COMMAND) & Number(DMA_RUN)) !== 0);
  };
  return {
    read: (iova, count) => run(iova, Number(BUFFER_START), count, DMA_RUN),
    write: (iova, count) => run(Number(BUFFER_START), iova, count, DMA_RUN | DMA_TO_BUS),
  };
}
