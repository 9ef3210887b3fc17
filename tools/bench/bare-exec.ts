/**
 * A Node process that replaces itself by another of the same binary, as a VMM does at an update, and does nothing else. The
 * new image prints how many nanoseconds (CLOCK_MONOTONIC) passed until its first line.
 */
import { execve, setCloexec } from '../../platform/libc.ts';

const FIRST_LINE = 'process.stdout.write(String(process.hrtime.bigint() - BigInt(process.argv[1])))';

setCloexec(1, false);
setCloexec(2, false);
const now = String(process.hrtime.bigint());
execve(process.execPath, [process.execPath, '--eval', FIRST_LINE, now], process.env);
