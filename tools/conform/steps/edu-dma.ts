/**
 * `edu_dma`: one transfer of an edu device, driven by its registers (docs/machine.md, "edu:
 * registers") in 4-byte accesses.
 */
import { SysError } from '../../../platform/errno.ts';
import type { CallContext } from './call-context.ts';
import type { Answer } from './words.ts';

const REG_DMA_SOURCE = 0x80;
const REG_DMA_DESTINATION = 0x88;
const REG_DMA_COUNT = 0x90;
const REG_DMA_COMMAND = 0x98;
const DMA_RUN = 1;
const TIMEOUT_MS = 5000;

export function eduDma({ calls, words, step }: CallContext): Promise<string> {
  const [device, ...values] = step.args as [string, string, string, string, string];
  const fd = words.fd(device);
  const register = new Uint8Array(4);
  const view = new DataView(register.buffer);
  const write = (offset: number, value: number): Answer<number> => {
    view.setUint32(0, value, true);
    return calls.pwrite(fd, offset, register);
  };
  return words.status(async () => {
    for (const [i, offset] of [REG_DMA_SOURCE, REG_DMA_DESTINATION, REG_DMA_COUNT, REG_DMA_COMMAND].entries()) {
      await write(offset, Number(words.number(values[i]!) & 0xffff_ffffn));
    }
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      await calls.pread(fd, REG_DMA_COMMAND, register);
      if ((view.getUint32(0, true) & DMA_RUN) === 0) return 0;
      if (Date.now() > deadline) throw new SysError('ETIMEDOUT', 'the transfer does not end');
    }
  });
}
