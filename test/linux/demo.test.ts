/**
 * `livevmm demo --guest linux`, to its verdict. LIVEVMM_DEBIAN=FOLDER keeps Linux's packages there;
 * LIVEVMM_TEST_LINUX=1 takes the number of updates that a user gets.
 */
import { expect, it } from 'vitest';

import type { RunDocument } from '../../tools/demo/document.ts';
import type { LinuxFacts } from '../../tools/demo/linux/guests.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { debianFolder, isWantedNow, isWhole, linuxFor } from './debian.ts';

const LIMIT_MS = 900_000;
/** The demo's own are 10 in 60 s. */
const [UPDATES, SECONDS] = isWhole ? [10, 60] : [3, 9];

it.runIf(isWantedNow('demo'))(
  'livevmm demo --guest linux passes, and leaves nothing',
  { timeout: LIMIT_MS },
  async ({ skip, onTestFinished }) => {
    const sandbox = new Sandbox();
    onTestFinished(() => sandbox.remove());
    const folder = debianFolder(sandbox.dir);
    if (!linuxFor(sandbox.dir)) return skip();
    const length = ['--updates', `${UPDATES}`, '--seconds', `${SECONDS}`];
    const ended = await sandbox.run('demo', '--guest', 'linux', '--debian', folder, ...length, '--json');
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    const { failures, verdict, updates, guest } = JSON.parse(ended.stdout) as RunDocument<LinuxFacts>;
    expect([verdict, failures, updates.length]).toEqual(['pass', [], UPDATES]);
    expect(guest).toMatchObject({ framesLost: 0, framesCorrupt: 0, filesWrong: 0, pingsLost: 0 });
    expect(sandbox.leftovers()).toEqual([]);
  },
);
