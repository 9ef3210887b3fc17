/** A terminal in front of a VMM; script(1) makes one. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { guestPath, programPath } from '../../../tools/launch/programs.ts';

const hasScript = spawnSync('script', ['--version']).status === 0;

it.runIf(hasScript)(
  'gives the guest each key without an echo, also after an update, ends it with Ctrl-a x, and is as before then',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'livevmm-terminal-'));
    const vmm = `${process.execPath} ${programPath('vmm')} -m 64M --kernel ${guestPath('demo')} --qmp ${folder}/q`;
    const child = spawn('script', ['-qec', `stty -a; ${vmm}; echo ended $?; stty -a`, '/dev/null']);
    try {
      let printed = '';
      let wrong = 'no update has ended';
      child.stdout.on('data', (chunk) => {
        const before = printed;
        printed += chunk;
        const comes = (what: RegExp): boolean => what.test(printed) && !what.test(before);
        if (comes(/^demo:.*\r/m)) {
          const update = [programPath('livevmm'), 'update', '--qmp', `${folder}/q`];
          execFile(process.execPath, update, (_, __, errors) => {
            wrong = errors;
            child.stdin.write('s');
          });
        }
        if (comes(/^@stats .*\r/m)) child.stdin.write('\x01x');
      });
      await new Promise((resolve) => child.once('close', resolve));
      expect(wrong).toBe('');
      expect(printed).toMatch(/^ended 0\r$/m);
      expect(printed).not.toContain('s@stats');
      const [before, after] = [...printed.matchAll(/^speed [\s\S]*?-extproc\r$/gm)].map(([mode]) => mode);
      expect(after).toBe(before);
      expect(before).toContain(' icanon ');
    } finally {
      child.kill();
      rmSync(folder, { recursive: true });
    }
  },
);
