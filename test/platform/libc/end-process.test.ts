import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';

/** Its thread makes calls that koffi refuses, and each refusal is thrown. */
const PROGRAM = `
  import { Worker } from 'node:worker_threads';
  import { endProcess } from './platform/libc/this-process.ts';
  process.stdin.resume();
  process.on('exit', (status) => process.stdout.write(\`ends with \${status}\`));
  new Worker(
    \`const koffi = require('koffi');
    const close = koffi.load('libc.so.6').func('int close(int fd)');
    require('node:worker_threads').parentPort.postMessage('begins');
    for (;;) try { close('none'); } catch {}\`,
    { eval: true, execArgv: [] },
  ).once('message', () => endProcess(3));
`;

/** Then says whether its standard input is non-blocking (04000) for those who share it. */
const THEN = '"$@"; echo ", $?"; grep -cE "^flags:.*[4-7]...$" /proc/self/fdinfo/0';

it('ends a process whose other threads are in calls, after its exit handlers, and leaves its input blocking', async () => {
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', PROGRAM];
  const child = spawn('sh', ['-c', THEN, 'sh', ...node]);
  let [output, errors] = ['', ''];
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (errors += data));
  await once(child, 'close');
  expect([output, errors]).toEqual(['ends with 3, 3\n0\n', '']);
});
