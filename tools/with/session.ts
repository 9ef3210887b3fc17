/**
 * A program under a supervisor, from its start to the end of the last process that it has started.
 * This process shares its terminal, and keeps out of the way.
 */
import type { Worker } from 'node:worker_threads';

import { eventfd, eventfdSignal } from '../../platform/libc/eventfd.ts';
import { close } from '../../platform/libc/fd.ts';
import { OwnedThread } from '../../platform/owned-thread.ts';
import { startWorker } from '../../platform/thread.ts';
import { CommandError } from '../cli/command.ts';
import { FaultHandlerProcess } from './faults/start.ts';
import { launch } from './launcher/launch.ts';
import type { SupervisorData, TraceOutput } from './supervisor/protocol.ts';

/** The terminal sends these to the program as well. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;
/** Whoever sends these to us means the program. */
const FOR_PROGRAM = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
const STOP_MS = 5000;

export interface ProgramEnding {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProgramOptions {
  /** Where the host listens. */
  readonly socketPath: string;
  /** An empty folder for the files that it shall see. */
  readonly tree: string;
  /** Where its VFIO calls are told. */
  readonly trace: TraceOutput | null;
  /** It has a fault handler, and can map registers. */
  readonly mapRegisters: boolean;
}

/**
 * Runs a program on a host and waits until it and its descendants have ended. CommandError: the
 * supervisor or the fault handler fails.
 */
export async function runProgram(words: readonly string[], options: ProgramOptions): Promise<ProgramEnding> {
  const faultHandler = options.mapRegisters ? new FaultHandlerProcess(options.socketPath) : undefined;
  try {
    return await runTraced(words, options, faultHandler);
  } finally {
    await faultHandler?.stop();
  }
}

async function runTraced(
  words: readonly string[],
  { socketPath, tree, trace, mapRegisters }: ProgramOptions,
  faultHandler: FaultHandlerProcess | undefined,
): Promise<ProgramEnding> {
  const { child, exited, listener, begin } = await launch(words, faultHandler?.pid);
  const passOn = (signal: NodeJS.Signals): void => void child.kill(signal);
  const ignore = (): void => undefined;
  for (const signal of FROM_TERMINAL) process.on(signal, ignore);
  for (const signal of FOR_PROGRAM) process.on(signal, passOn);
  try {
    if (listener === undefined) return await exited;
    const stop = eventfd();
    const worker: Worker = startWorker<SupervisorData>(
      'tools/with/supervisor/worker',
      { listener, stop, socketPath, tree, trace, mapRegisters },
      { name: 'supervisor' },
    );
    const thread = new OwnedThread(worker);
    const failed = new Promise<never>((_, reject) => worker.once('error', reject));
    const over = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    try {
      await faultHandler?.trace(child.pid!);
      begin();
      await Promise.race([over, failed, ...(faultHandler ? [faultHandler.failed] : [])]);
      return await exited;
    } catch (error) {
      child.kill('SIGKILL');
      if (error instanceof CommandError) throw error;
      throw new CommandError(`the supervisor has failed: ${(error as Error).message}`);
    } finally {
      await thread.stop(() => eventfdSignal(stop), STOP_MS);
      close(listener);
      close(stop);
    }
  } finally {
    for (const signal of FROM_TERMINAL) process.off(signal, ignore);
    for (const signal of FOR_PROGRAM) process.off(signal, passOn);
  }
}
