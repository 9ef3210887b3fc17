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
import { BYTES, IOVA, oneRound, runRing } from './capture-ring.ts';
import { openDevice, read32, say } from './script.ts';

const fd = memfdCreate('ring', process.argv[3] === 'sealable' ? MFD_CLOEXEC | MFD_ALLOW_SEALING : MFD_CLOEXEC);
ftruncate(fd, BYTES);
const vaddr = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
const { container, device } = openDevice(0, '0000:00:02.0');
container.map({ iova: IOVA, offset: 0, size: BYTES }, vaddr);
runRing(device);

oneRound(device);
let refused: string | undefined;
try {
  ftruncate(fd, 0);
} catch (error) {
  if (!(error instanceof SysError)) throw error;
  refused = error.code;
}
oneRound(device);
say({ refused, size: fileSize(fd), faults: read32(device, grabber.REG_FAULTS) });
