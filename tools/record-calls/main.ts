/**
 * `record-calls`: makes ready what the snapshots of the VMM's program are made of, and the one that
 * a VMM starts from. It records which functions the program calls up to the guest's threads
 * (recording.ts): at an exec update and at a power-on. The build runs it under the option of a
 * snapshot's node.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, watch, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { snapshotProgram } from '../../platform/code-cache.ts';
import { nodeEnv } from '../../platform/node-env.ts';
import { KEEP_HASHES } from '../../platform/v8-options.ts';
import { liveUpdate } from '../clients/live-update.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath, programPath } from '../launch/programs.ts';
import { hasStartSnapshot, START_BLOB, START_PROGRAM, writeStartKey } from '../launch/start-snapshot.ts';

const dist = dirname(programPath('vmm'));
const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;
const NODE = `${quoted(process.execPath)} ${KEEP_HASHES}`;
const MACHINE = {
  ...{ devices: ['edu', 'capture'], memory: '64M', kernel: guestPath('demo') },
  env: { ...process.env, LIVEVMM_CACHE: '' }, // no turn and no snapshot of this user's updates
};

function script(path: string, text: string): string {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o700);
  return path;
}

/** A machine with devices, on a host of its own, is updated to a folder whose program records. */
async function recordUpdate(folder: string): Promise<void> {
  const to = join(folder, 'build');
  mkdirSync(to);
  writeFileSync(join(to, 'vmm.cjs'), `require(${JSON.stringify(join(dist, 'record-successor.cjs'))});\n`);
  const node = script(join(folder, 'node'), `exec ${NODE} "$@"`);
  const machine = await Machine.start(MACHINE);
  try {
    await liveUpdate(machine.qmp, { to, node, probationMs: 0 });
  } finally {
    await machine.stop();
  }
}

/** The program that records is given the words of such a machine's VMM. */
async function recordStart(folder: string): Promise<void> {
  const recorder = quoted(join(dist, 'record-starter.cjs'));
  const lines = `until [ "$1" = ${quoted(programPath('vmm'))} ]; do shift; done\nshift\nexec ${NODE} ${recorder} "$@"`;
  const under = [script(join(folder, 'starter'), lines)];
  const machine = await Machine.start({ ...MACHINE, under });
  try {
    await machine.whileAlive(untilRecorded(START_PROGRAM)); // the guest has said its first line before
  } finally {
    await machine.stop();
  }
}

/** Whether there is a record of the program, and this node takes it. */
const isRecorded = (program: string): boolean => snapshotProgram(join(dist, program)).isKept;

function untilRecorded(program: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(dist, () => look());
    const look = (): void => {
      if (!isRecorded(program)) return;
      watcher.close();
      resolve();
    };
    look(); // after the watch has begun
  });
}

/** Calls `record` unless there is a record of the program. */
async function recorded(program: string, record: (folder: string) => Promise<void>): Promise<void> {
  if (isRecorded(program)) return;
  const folder = new PrivateFolder();
  try {
    await record(folder.path);
  } finally {
    await folder.remove();
  }
  if (!isRecorded(program)) throw new Error(`this node does not take the record of ${program}`);
}

/** Makes the snapshot that a VMM starts from, unless there is one. */
function makeStartSnapshot(): void {
  if (hasStartSnapshot()) return;
  const fresh = `${START_BLOB}.${process.pid}`;
  const words = [KEEP_HASHES, '--snapshot-blob', fresh, '--build-snapshot'];
  const builder = [join(dist, 'vmm-build-snapshot.cjs'), START_PROGRAM];
  const { status, stderr } = spawnSync(process.execPath, [...words, ...builder], { encoding: 'utf8', env: nodeEnv() });
  if (status !== 0) throw new Error(`no snapshot to start from: ${stderr}`);
  renameSync(fresh, START_BLOB);
  writeStartKey();
}

async function main(): Promise<void> {
  await recorded('vmm-snapshot.cjs', recordUpdate);
  await recorded(START_PROGRAM, recordStart);
  makeStartSnapshot();
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
