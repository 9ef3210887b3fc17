/** How long a command needs to its first output. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Milliseconds from the spawn of a command until its first output. The command has ended when this
 * resolves.
 */
export async function firstOutputMs(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<number> {
  const start = performance.now();
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'ignore'], env });
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
  const ms = performance.now() - start;
  child.kill('SIGTERM');
  await ended;
  return ms;
}
