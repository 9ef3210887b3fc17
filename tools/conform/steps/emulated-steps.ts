/**
 * Steps on the recorded kvemu devices. kvemu is a VFIO device without IOMMU; a step tells it what
 * to pin, read and write (MDV-1…6).
 */
import {
  KVEMU_LOG,
  KVEMU_PIN,
  KVEMU_RW,
  KVEMU_RW_FLAG_WRITE,
  KVEMU_UNPIN,
  KvemuLog,
  KvemuPin,
  KvemuRw,
  KvemuUnpin,
} from '../../../iommu/abi/kvemu.ts';
import { viewOf } from '../../../platform/struct.ts';
import { formatBytes } from '../notation.ts';
import type { StepTable } from './call-context.ts';

/** How many bytes that a device has read the recorder shows at most. */
const SHOWN_BYTES = 2048;
/** Space for the log in bytes: more than the recorder's own. */
const LOG_BYTES = 65536;

export const EMULATED_STEPS: StepTable = {
  emu_pin({ calls, words, step: { args } }) {
    const [fd, iova, npage, prot] = args as [string, string, string, string];
    const fields = { iova: words.number(iova), npage: words.count(npage), prot: words.count(prot) };
    const arg = KvemuPin.bytes({ argsz: KvemuPin.size, flags: 0, ...fields });
    return words.status(() => calls.ioctl(words.fd(fd), KVEMU_PIN, arg));
  },
  emu_unpin({ calls, words, step: { args } }) {
    const [fd, iova, npage] = args as [string, string, string];
    const fields = { iova: words.number(iova), npage: words.count(npage) };
    const arg = KvemuUnpin.bytes({ argsz: KvemuUnpin.size, flags: 0, ...fields });
    return words.status(() => calls.ioctl(words.fd(fd), KVEMU_UNPIN, arg));
  },
  async emu_rw({ calls, words, step: { args } }) {
    const [fd, iova, length, what] = args as [string, string, string, string];
    const size = words.count(length);
    const argsz = KvemuRw.size + size;
    const write = what !== 'r';
    const flags = write ? KVEMU_RW_FLAG_WRITE : 0;
    const arg = KvemuRw.bytes({ argsz, flags, iova: words.number(iova), size: BigInt(size) }, argsz);
    const data = arg.subarray(KvemuRw.size);
    if (write) data.fill(words.count(what));
    const status = await words.status(() => calls.ioctl(words.fd(fd), KVEMU_RW, arg));
    return write || status !== '0' ? status : `0 data=${formatBytes(data.subarray(0, SHOWN_BYTES))}`;
  },
  async emu_log({ calls, words, step: { args } }) {
    const arg = KvemuLog.bytes({ argsz: LOG_BYTES }, LOG_BYTES);
    const status = await words.status(() => calls.ioctl(words.fd(args[0]!), KVEMU_LOG, arg));
    const { length } = KvemuLog.read(viewOf(arg));
    const text = Buffer.from(arg.subarray(KvemuLog.size, KvemuLog.size + length)).toString('latin1');
    return `${status} log=${text}`;
  },
};
