/** A VMM whose cache lies on a full disk. */
import { spawnSync } from 'node:child_process';

/** As root of a user namespace anybody may mount (user_namespaces(7)), if the machine lets them. */
const UNSHARE = ['unshare', '--user', '--map-root-user', '--mount'] as const;
/** Less than a snapshot needs. */
const DISK = '64k';

/** Becomes the program that follows. Only that one sees the disk. */
export const ON_FULL_DISK: readonly string[] = [
  ...UNSHARE,
  ...[
    'sh',
    '-c',
    `mkdir -p "$LIVEVMM_CACHE" && mount -t tmpfs -o size=${DISK} none "$LIVEVMM_CACHE" && exec "$@"`,
    'sh',
  ],
];

/** Why there can be no such disk; undefined: there can. */
export function whyNoDisk(): string | undefined {
  const [program, ...args] = UNSHARE;
  const { status, error, stderr } = spawnSync(program, [...args, 'true'], { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}
