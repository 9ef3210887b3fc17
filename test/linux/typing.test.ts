/**
 * Somebody types into a shell of Linux while its VMM is replaced; script(1) makes the terminal.
 * LIVEVMM_DEBIAN=FOLDER keeps Linux's packages there.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import { programArgv } from '../../tools/launch/programs.ts';
import { isOffered } from '../offered.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { isWantedNow, linuxFor } from './debian.ts';

const LIMIT_MS = 900_000;
const UPDATES = 3;
const TYPE_EVERY_MS = 5;
/** A terminal's line is shorter. */
const LINE = 64;
const CTRL_C = '\x03';
const CTRL_D = '\x04';
/** The shell asks the terminal where the cursor is, and gets no answer. */
const ASKS = '\x1b[6n';

const INIT = `${INIT_BEGINS}
export PS1='shell> '
setsid cttyhack sh -i
poweroff -f
`;

const hasScript = isOffered(spawnSync('script', ['--version']).status === 0, "script(1): Debian's package bsdutils");

it.runIf(isWantedNow('typing') && hasScript)(
  'loses no key of one who types over updates',
  { timeout: LIMIT_MS },
  async ({ skip, onTestFinished }) => {
    const sandbox = new Sandbox();
    onTestFinished(() => sandbox.remove());
    const debian = linuxFor(sandbox.dir);
    if (!debian) return skip();
    const [initrd, qmp] = [join(sandbox.dir, 'initrd'), join(sandbox.dir, 'q')];
    writeFileSync(initrd, initramfs({ busybox: debian.busybox, init: INIT }));
    const run = [...programArgv('livevmm', 'run'), '-m', '256M', '-kernel', debian.kernel, '-initrd', initrd];
    const command = `${run.join(' ')} -append "${QUIET_CONSOLE}" -qmp ${qmp}`;
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void terminal.kill());
    const closed = once(terminal, 'close');
    let printed = '';
    terminal.stdout.setEncoding('latin1').on('data', (text: string) => {
      printed = (printed + text).replaceAll('\r', '').replaceAll(ASKS, '');
    });
    const type = (text: string): void => void terminal.stdin.write(text);
    const prints = async (text: string): Promise<void> => {
      while (!printed.endsWith(text)) {
        await Promise.race([once(terminal.stdout, 'data'), closed]);
        if (terminal.exitCode !== null) throw new Error(`the terminal is closed:\n${printed}`);
      }
    };

    await prints('shell> ');
    type("sh -c 'echo asleep; exec sleep 1000'\n"); // a ^C before it runs would be the shell's
    await prints('asleep\n');
    type(CTRL_C);
    await prints('^C\nshell> ');
    type('cat >typed\n');
    await prints('cat >typed\n');
    const before = printed.length;
    let typed = '';
    const typist = setInterval(() => {
      const key = typed.length % LINE === LINE - 1 ? '\n' : String.fromCharCode(97 + Math.floor(26 * Math.random()));
      typed += key;
      type(key);
    }, TYPE_EVERY_MS);
    onTestFinished(() => clearInterval(typist));
    for (let n = 0; n < UPDATES; n++) {
      const { status, stderr } = await sandbox.run('update', '--qmp', qmp);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      await sleep(50 * TYPE_EVERY_MS);
    }
    clearInterval(typist);
    typed += '\n';
    type(`\n${CTRL_D}`);
    await prints('shell> ');
    expect(printed.slice(before)).toBe(`${typed}shell> `);
    type('md5sum typed\n');
    await prints('typed\nshell> ');
    expect(printed).toContain(`\n${createHash('md5').update(typed).digest('hex')}  typed\n`);
    type('exit\n');
    expect(await closed).toEqual([0, null]);
  },
);
