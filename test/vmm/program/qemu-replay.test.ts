import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, expect, it } from 'vitest';

import { VmmProcess } from '../vmm-process.ts';

/** What QEMU 11.1.3 answered to commands, right ones and wrong ones, and what a VMM answers. */

let vmm: VmmProcess;

afterEach(async () => {
  expect(await vmm.end()).toEqual([]);
});

const lines = readFileSync(new URL('./vectors/qemu-11.1.3.qmp', import.meta.url), 'utf8').split('\n');
const sent = lines.filter((line) => line.startsWith('> ')).map((line) => line.slice(2));
const recorded = lines.filter((line) => line.startsWith('< ')).map((line) => line.slice(2));

/** Where we differ on purpose: docs/qmp.md says why. By what was sent. */
const DIFFERENT: Readonly<Record<string, string>> = {
  '{"execute":"migrate-incoming","arguments":{"uri":"x"}}':
    '{"error": {"class": "CommandNotFound", "desc": "The command migrate-incoming has not been found"}}',
};

it('a VMM answers as QEMU does, letter by letter', async () => {
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  const socket = connect(vmm.qmpPath);
  const answers: string[] = [];
  const input = createInterface({ input: socket }).on('line', (line) => {
    if (!line.startsWith('{"timestamp"') && !line.startsWith('{"QMP"')) answers.push(line);
    if (answers.length === sent.length) input.close();
  });
  socket.write(sent.join('\n'));
  await once(input, 'close');
  socket.destroy();
  const wanted = sent.map((line, i) => DIFFERENT[line] ?? recorded[i]);
  const shown = (answer: string | undefined, i: number) => `${sent[i]}\n${answer}`;
  expect(answers.map(shown)).toEqual(wanted.map(shown));
  expect(sent.length).toBeGreaterThan(50);
});
