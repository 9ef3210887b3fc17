/** A capture device that fills BYTES of memory at IOVA, without end. */
import { Capture } from '../../../vmm/client/drivers/capture.ts';
import { type OpenedDevice, setCommand } from './script.ts';

export const BYTES = 1 << 20;
export const IOVA = 0x10_0000;
const FRAMES = 256;

/** The memory is mapped. */
export function runRing({ device, registers }: Pick<OpenedDevice, 'device' | 'registers'>): Capture {
  setCommand(device, 0x0006);
  const capture = new Capture(registers);
  capture.start({ iova: IOVA, frames: FRAMES, frameSize: BYTES / FRAMES });
  return capture;
}

/** Lets it write every slot of the ring once more. */
export function oneRound(capture: Capture): void {
  const from = capture.writeIndex();
  while (capture.writeIndex() - from <= FRAMES);
}
