/**
 * A Node process that replaces itself by another of the same binary, in the environment that a VMM
 * gives its successor, and does nothing else. The new image prints how many nanoseconds
 * (CLOCK_MONOTONIC) passed until its first line.
 */
import { setCloexec } from '../../platform/libc/fd.ts';
import { execve } from '../../platform/libc/this-process.ts';
import { nodeEnv } from '../../platform/node-env.ts';

const FIRST_LINE = 'const now = process.hrtime.bigint(); process.stdout.write(String(now - BigInt(process.argv[1])))';

setCloexec(1, false);
setCloexec(2, false);
const start = String(process.hrtime.bigint());
execve(process.execPath, [process.execPath, '--eval', FIRST_LINE, start], nodeEnv());
