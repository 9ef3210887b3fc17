/**
 * The program `with-fault-handler`: traces the process whose pid comes on stdin, says so on stdout,
 * and ends with the last process that this one has started. Its word: where the host listens.
 */
import { readSync, writeSync } from 'node:fs';
import { codeOf } from '../../../platform/errno.ts';
import { seize } from '../../../platform/libc/ptrace.ts';
import { setParentDeathSignal } from '../../../platform/libc/this-process.ts';
import { FaultHandler } from './fault-handler.ts';
import { FAULT_HANDLER_READY } from './handshake.ts';

const SIGKILL = 9;
const [socketPath = ''] = process.argv.slice(2);
const bytes = new Uint8Array(32);

setParentDeathSignal(SIGKILL);
const pid = Number(Buffer.from(bytes.subarray(0, readSync(0, bytes))).toString());
if (pid > 0) {
  try {
    seize(pid);
    writeSync(1, FAULT_HANDLER_READY);
    new FaultHandler(socketPath, (line) => void writeSync(2, `livevmm: ${line}\n`)).run();
  } catch (error) {
    process.stderr.write(`livevmm: --map-registers: ptrace: ${codeOf(error) ?? (error as Error).stack}\n`);
    process.exit(1);
  }
}
