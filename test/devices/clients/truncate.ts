/** Cuts off the memory that a capture device fills, to nothing, while it does. argv: socket, `sealable` or `plain`. */
import * as grabber from '../../../devices/capture/regs.ts';
import { SysError } from '../../../platform/errno.ts';
import {
  fileSize,
  ftruncate,
  MAP_SHARED,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  memfdCreate,
  mmap,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc.ts';
import { openDevice, read32, say, setCommand, write32 } from './script.ts';

const BYTES = 1 << 20;
const IOVA = 0x10_0000;
const FRAMES = 256;

const fd = memfdCreate('ring', process.argv[3] === 'sealable' ? MFD_CLOEXEC | MFD_ALLOW_SEALING : MFD_CLOEXEC);
ftruncate(fd, BYTES);
const vaddr = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
const { container, device } = openDevice(0, '0000:00:02.0');
setCommand(device, 0x0006);
container.map({ iova: IOVA, offset: 0, size: BYTES }, vaddr);
write32(device, grabber.REG_RING_LO, IOVA);
write32(device, grabber.REG_FRAMES, FRAMES);
write32(device, grabber.REG_FRAME_SIZE, BYTES / FRAMES);
write32(device, grabber.REG_CTRL, grabber.CTRL_RUN);

const written = (): number => read32(device, grabber.REG_WRITE_INDEX);
/** Lets it write every slot of the ring once more. */
function oneRound(): void {
  const from = written();
  while (written() - from <= FRAMES);
}

oneRound();
let refused: string | undefined;
try {
  ftruncate(fd, 0);
} catch (error) {
  if (!(error instanceof SysError)) throw error;
  refused = error.code;
}
oneRound();
say({ refused, size: fileSize(fd), faults: read32(device, grabber.REG_FAULTS) });
