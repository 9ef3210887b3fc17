/**
 * Runs the VMM's program. The exit status is the guest's; errors give 1 and one line. Modules are
 * loaded when they are needed.
 */
import { SysError } from '../../platform/errno.ts';
import { endProcess } from '../../platform/libc/this-process.ts';
import { parseRestoring, RESTORE } from '../live-update/kexec/restore-option.ts';
import type { Incoming } from '../live-update/migration/incoming.ts';
import { PREFLIGHT } from '../live-update/preflight-option.ts';
import { STANDBY } from '../live-update/standby/standby-option.ts';
import { AWAIT } from './awaited-words.ts';
import { endingSignal } from './ending-signals.ts';

/** Powers a guest on by its command line, or takes over a running one; ends the process. */
export async function runVmm(args: readonly string[], firstLine: number): Promise<never> {
  let status = 1;
  try {
    const signalled = endingSignal();
    const [option, stateFd, ...more] = args; // these options only images of the VMM say to each other
    if (option === '--resume') status = await resume(Number(stateFd), firstLine, signalled);
    else if (option === STANDBY) status = await standBy([stateFd, ...more].map(Number), signalled);
    else if (option === PREFLIGHT) status = await preflight(Number(stateFd), firstLine);
    else if (option === AWAIT) status = await begin(Number(stateFd), signalled);
    else if (args.includes(RESTORE)) status = await restore(args, signalled);
    else status = await powerOn(args, signalled);
  } catch (error) {
    const { message, stack } = error as Error;
    process.stderr.write(`vmm: ${error instanceof SysError ? message : stack}\n`);
  }
  endProcess(status);
}

async function resume(stateFd: number, firstLine: number, signalled: Promise<number>): Promise<number> {
  const { takeOver } = await import('../live-update/resume.ts');
  const resumed = await takeOver(stateFd, firstLine).catch((error: Error) => {
    throw new SysError('EINVAL', `cannot take the guest over: ${error.message}`);
  });
  const { serveResumed } = await import('./serve.ts');
  return serveResumed(resumed, signalled);
}

/** Goes on with a guest that has outlived its host's kernel. */
async function restore(args: readonly string[], signalled: Promise<number>): Promise<number> {
  const { restoreGuest } = await import('../live-update/kexec/restore.ts');
  const resumed = await restoreGuest(parseRestoring(args)!);
  const { serveResumed } = await import('./serve.ts');
  return serveResumed(resumed, signalled);
}

async function standBy(fds: readonly number[], signalled: Promise<number>): Promise<number> {
  const { standBy } = await import('../live-update/standby/stand-by.ts');
  const resumed = await standBy(fds);
  if (!resumed) return 0;
  const { serveResumed } = await import('./serve.ts');
  return serveResumed(resumed, signalled);
}

async function preflight(manifestFd: number, firstLine: number): Promise<number> {
  const { answerPreflight } = await import('../live-update/preflight-answer.ts');
  const answer = JSON.stringify(await answerPreflight(manifestFd, firstLine));
  await new Promise<void>((resolve) => process.stdout.write(answer, () => resolve()));
  return 0;
}

async function powerOn(args: readonly string[], signalled: Promise<number>): Promise<number> {
  const { parseIncoming } = await import('../live-update/migration/incoming.ts');
  const incoming = parseIncoming(args);
  if (incoming) return receive(incoming, signalled);
  const { parseOptions } = await import('../vm/options.ts');
  const { buildVm } = await import('../vm/power-on.ts');
  const { servePowerOn } = await import('./serve.ts');
  return servePowerOn(buildVm(parseOptions(args)), signalled);
}

/** Loads what a power-on needs, and waits for its command line. 0: none came. */
async function begin(fd: number, signalled: Promise<number>): Promise<number> {
  const { parseOptions } = await import('../vm/options.ts');
  const { buildVm } = await import('../vm/power-on.ts');
  const { servePowerOn } = await import('./serve.ts');
  const { awaitWords } = await import('./awaited-words.ts');
  const words = awaitWords(fd);
  return words ? servePowerOn(buildVm(parseOptions(words)), signalled) : 0;
}

/** Waits for another VMM's guest, and serves it. 0: none came. */
async function receive(incoming: Incoming, signalled: Promise<number>): Promise<number> {
  const { acceptGuest } = await import('../live-update/standby/accept-guest.ts');
  const resumed = await acceptGuest(incoming, signalled);
  if (!resumed) return Promise.race([signalled, 0]);
  const { serveResumed } = await import('./serve.ts');
  return serveResumed(resumed, signalled);
}
