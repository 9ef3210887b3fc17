/** A capture device that fills BYTES of memory at IOVA, without end. */
import * as grabber from '../../../devices/capture/regs.ts';
import type { VfioDevice } from '../../../vmm/client/device.ts';
import { read32, setCommand, write32 } from './script.ts';

export const BYTES = 1 << 20;
export const IOVA = 0x10_0000;
const FRAMES = 256;

/** The memory is mapped. */
export function runRing(device: VfioDevice): void {
  setCommand(device, 0x0006);
  write32(device, grabber.REG_RING_LO, IOVA);
  write32(device, grabber.REG_FRAMES, FRAMES);
  write32(device, grabber.REG_FRAME_SIZE, BYTES / FRAMES);
  write32(device, grabber.REG_CTRL, grabber.CTRL_RUN);
}

/** Lets it write every slot of the ring once more. */
export function oneRound(device: VfioDevice): void {
  const written = (): number => read32(device, grabber.REG_WRITE_INDEX);
  const from = written();
  while (written() - from <= FRAMES);
}
