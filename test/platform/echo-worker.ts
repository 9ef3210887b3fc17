/** Writes 42 into the first byte of the buffer it is given. */
import { workerInput } from '../../platform/thread.ts';

new Uint8Array(workerInput<SharedArrayBuffer>())[0] = 42;
