/**
 * The VMM's program. `vmm [--host SOCKET] [-m SIZE] --kernel ELF …` powers a guest on; `vmm --resume FD`, which only the image
 * before this one says, takes a running one over. Exit status: the guest's; 1 for errors, with one line.
 */

import { monotonicNs } from '../platform/clock.ts';
import { SysError } from '../platform/errno.ts';
import { VcpuThread } from './vcpu/thread.ts';

const firstLine = monotonicNs();

/** Nothing is loaded before the vCPU thread starts: its start is the longest part of a resume, all else goes on beside it. */
async function resume(stateFd: number): Promise<number> {
  const vcpu = new VcpuThread();
  const { takeOver } = await import('./live-update/resume.ts');
  const resumed = await takeOver(stateFd, vcpu, firstLine).catch((error: Error) => {
    throw new SysError('EINVAL', `cannot take the guest over: ${error.message}`);
  });
  const { serveResumed } = await import('./serve.ts');
  return serveResumed(resumed);
}

async function powerOn(args: readonly string[]): Promise<number> {
  const { parseOptions } = await import('./options.ts');
  const { buildVm } = await import('./power-on.ts');
  const { servePowerOn } = await import('./serve.ts');
  return servePowerOn(buildVm(parseOptions(args)));
}

async function main([first, ...rest]: readonly string[]): Promise<void> {
  let status = 1;
  try {
    status = await (first === '--resume' ? resume(Number(rest[0])) : powerOn(process.argv.slice(2)));
  } catch (error) {
    const { message, stack } = error as Error;
    process.stderr.write(`vmm: ${error instanceof SysError ? message : stack}\n`);
  }
  process.exit(status);
}

void main(process.argv.slice(2));
