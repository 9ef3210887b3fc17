/**
 * What the VMM's program does once its entry has run. Exit status: the guest's; 1 for errors, with one line.
 * What a resume does not need before the guest runs again is loaded after it does.
 */
import { SysError } from '../platform/errno.ts';
import type { VcpuThread } from './vcpu/thread.ts';

export interface ResumeInput {
  /** Started already. */
  readonly vcpu: VcpuThread;
  readonly stateFd: number;
  /** When this image's first line ran. */
  readonly firstLine: number;
}

/** Powers a guest on by its command line, or takes over a running one; ends the process. */
export async function runVmm(input: readonly string[] | ResumeInput): Promise<never> {
  let status = 1;
  try {
    status = await ('vcpu' in input ? resume(input) : powerOn(input));
  } catch (error) {
    const { message, stack } = error as Error;
    process.stderr.write(`vmm: ${error instanceof SysError ? message : stack}\n`);
  }
  process.exit(status);
}

async function resume({ vcpu, stateFd, firstLine }: ResumeInput): Promise<number> {
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
