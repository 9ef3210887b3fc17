/**
 * `record-calls`: records which functions of the VMM's program an exec update calls up to the
 * guest's first slice (successor.ts), for the snapshot of that program
 * (vmm/program/build-snapshot.ts). The build runs it under the option of a successor. A machine
 * with devices, on a host of its own, is updated to a folder whose program is the recorder.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { snapshotProgram } from '../../platform/code-cache.ts';
import { KEEP_HASHES } from '../../platform/v8-options.ts';
import { liveUpdate } from '../clients/live-update.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath, programPath } from '../launch/programs.ts';

const DEVICES = ['edu', 'capture'];

/** Whether there is a record, and this node takes it. */
const isRecorded = (): boolean => snapshotProgram(join(dirname(programPath('vmm')), 'vmm-snapshot.cjs')).isKept;

/** A build, and a node that starts it under the option of a snapshot's node. */
function recorderIn(folder: string): { readonly to: string; readonly node: string } {
  const [to, node] = [join(folder, 'build'), join(folder, 'node')];
  const program = join(dirname(programPath('vmm')), 'record-successor.cjs');
  mkdirSync(to);
  writeFileSync(join(to, 'vmm.cjs'), `require(${JSON.stringify(program)});\n`);
  writeFileSync(node, `#!/bin/sh\nexec '${process.execPath.replaceAll("'", "'\\''")}' ${KEEP_HASHES} "$@"\n`);
  chmodSync(node, 0o700);
  return { to, node };
}

async function record(): Promise<void> {
  const folder = new PrivateFolder();
  try {
    const env = { ...process.env, LIVEVMM_CACHE: '' }; // no turn and no snapshot of this user's updates
    const machine = await Machine.start({ devices: DEVICES, memory: '64M', kernel: guestPath('demo'), env });
    try {
      await liveUpdate(machine.qmp, { ...recorderIn(folder.path), probationMs: 0 });
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}

async function main(): Promise<void> {
  if (!isRecorded()) await record();
  if (!isRecorded()) throw new Error('this node does not take the record');
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
