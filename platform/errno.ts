import { constants } from 'node:os';

/**
 * Names of the Linux errnos that this project throws or receives. The numbers are those of the
 * running machine (asm-generic).
 */
const NUMBERS: Readonly<Record<string, number>> = {
  ...constants.errno,
  ...{ EBADFD: 77, ENOTSUPP: 524, ENOTBLK: 15, ECHRNG: 44, EUSERS: 87, ESTALE: 116, ENOMEDIUM: 123, ECANCELED: 125 },
};

const NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(NUMBERS)) if (!NAMES.has(number)) NAMES.set(number, name);

/** Number of an errno name, e.g. 22 for 'EINVAL'. */
export function errnoNumber(code: string): number {
  const number = NUMBERS[code];
  if (number === undefined) throw new RangeError(`unknown errno ${code}`);
  return number;
}

/** Name of an errno number (positive), e.g. 'EINVAL' for 22. */
export function errnoName(number: number): string {
  return NAMES.get(number) ?? `E${number}`;
}

/**
 * The only error class that is part of the behaviour: it stands for what Linux would return as
 * -errno. Any other error is a bug.
 */
export class SysError extends Error {
  readonly code: string;
  readonly errno: number;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'SysError';
    this.code = code;
    this.errno = errnoNumber(code);
  }
}

/** A SysError from an errno number as libc or the kernel socket delivered it. */
export function fromErrno(errno: number, what: string): SysError {
  const code = errnoName(errno);
  return new SysError(code, `${what}: ${code}`);
}

/**
 * The errno name that an error carries, whether SysError or Node made it; undefined for anything
 * else.
 */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

const maker =
  (code: string) =>
  (message: string): SysError =>
    new SysError(code, message);

export const eperm = maker('EPERM');
export const enoent = maker('ENOENT');
export const esrch = maker('ESRCH');
export const eintr = maker('EINTR');
export const eio = maker('EIO');
export const e2big = maker('E2BIG');
export const enoexec = maker('ENOEXEC');
export const ebadf = maker('EBADF');
export const enomem = maker('ENOMEM');
export const eacces = maker('EACCES');
export const efault = maker('EFAULT');
export const ebusy = maker('EBUSY');
export const eexist = maker('EEXIST');
export const enametoolong = maker('ENAMETOOLONG');
export const eaddrinuse = maker('EADDRINUSE');
export const enodev = maker('ENODEV');
export const einval = maker('EINVAL');
export const enotty = maker('ENOTTY');
export const enospc = maker('ENOSPC');
export const erange = maker('ERANGE');
export const eproto = maker('EPROTO');
export const eoverflow = maker('EOVERFLOW');
export const eopnotsupp = maker('EOPNOTSUPP');
export const etimedout = maker('ETIMEDOUT');
export const enosys = maker('ENOSYS');
export const ecanceled = maker('ECANCELED');

/**
 * Translates an error for a client: this process being out of fds (EMFILE, ENFILE) is not a fault
 * of the client, which gets ENOMEM. Other errors are returned unchanged.
 */
export function withoutFds(error: unknown): unknown {
  if (!(error instanceof SysError && (error.code === 'EMFILE' || error.code === 'ENFILE'))) return error;
  return enomem(`the host has no file descriptor left (${error.code})`);
}
