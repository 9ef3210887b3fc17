/**
 * Runs programs in namespaces of their own, where this machine lets its users have them
 * (user_namespaces(7), pid_namespaces(7)).
 */
import { spawnSync } from 'node:child_process';

/**
 * Runs a program, given as further words, as pid 1 of a PID namespace and root of a user namespace.
 * It ends with the launcher.
 */
export const UNSHARE: readonly string[] = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child'];

/** Why it cannot; undefined when it can. */
export function whyNoNamespaces(): string | undefined {
  const [program, ...args] = [...UNSHARE, 'true'];
  const { status, error, stderr } = spawnSync(program!, args, { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}
