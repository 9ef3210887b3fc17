/**
 * Cuts off the memory that a capture device fills, to nothing, while it does. argv: socket,
 * `sealable` or `plain`.
 */
import { SysError } from '../../../platform/errno.ts';
import { fileSize, ftruncate } from '../../../platform/libc/file-bytes.ts';
import { MFD_ALLOW_SEALING, MFD_CLOEXEC, memfdCreate } from '../../../platform/libc/memfd.ts';
import { MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { mapDma } from '../../../vmm/client/dma.ts';
import { BYTES, IOVA, oneRound, runRing } from './capture-ring.ts';
import { kernel, openDeviceOf, say } from './script.ts';

const fd = memfdCreate('ring', process.argv[3] === 'sealable' ? MFD_CLOEXEC | MFD_ALLOW_SEALING : MFD_CLOEXEC);
ftruncate(fd, BYTES);
const vaddr = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
const opened = openDeviceOf(0, '0000:00:02.0');
mapDma(kernel, opened.container, { iova: IOVA, size: BYTES, vaddr });
const capture = runRing(opened);

oneRound(capture);
let refused: string | undefined;
try {
  ftruncate(fd, 0);
} catch (error) {
  if (!(error instanceof SysError)) throw error;
  refused = error.code;
}
oneRound(capture);
say({ refused, size: fileSize(fd), faults: capture.faults() });
