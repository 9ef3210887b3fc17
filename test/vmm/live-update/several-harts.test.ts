import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../../tools/clients/guardians.ts';
import type { QmpClient, QmpEvent } from '../../../tools/clients/qmp-client.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/**
 * A guest on several harts (guest/programs/smp). It counts with all of them in every way, checks
 * the sums, and ends with status 1 if one is wrong.
 */

const TIMEOUT_MS = 90_000;
const PROBATION_MS = 50;

let vmm: VmmProcess;
let qmp: QmpClient;

async function start(...words: readonly string[]): Promise<void> {
  vmm = new VmmProcess('smp', '--append', 'forever', ...words);
  qmp = await vmm.monitor();
}

afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
});

const rounds = (): number => Number(/.*@smp round (\d+)\n/s.exec(vmm.output)?.[1] ?? 0);

/** The guest goes on: it ends two more rounds, so one of them began after now. */
async function goesOn(): Promise<void> {
  const now = rounds();
  for (let next = now + 1; next <= now + 2; next++) await vmm.prints(new RegExp(`@smp round ${next}\n`));
}

async function update(args: Readonly<Record<string, unknown>> = {}): Promise<QmpEvent['data']> {
  const [{ data }] = await Promise.all([
    qmp.nextEvent(updateEnded, TIMEOUT_MS),
    qmp.execute('live-update', { probation: PROBATION_MS, ...args }),
  ]);
  return data;
}

const sectionsOf = async (): Promise<readonly string[]> => {
  const { sections } = (await qmp.execute('query-live-update')) as { sections: readonly { name: string }[] };
  return sections.map(({ name }) => name);
};

describe('a guest on three harts', () => {
  beforeEach(() => start('-smp', 'cpus=3'));

  it('finds them, and goes on with all of them through updates by exec and by transfer', async () => {
    await vmm.prints(/^@smp harts 3$/m);
    for (const mode of ['exec', 'transfer', 'exec']) {
      await goesOn();
      expect(await update({ mode })).toMatchObject({ status: 'completed' });
    }
    await goesOn();
  });

  it('has sections for each of them', async () => {
    const numbered = ['', ' 1', ' 2'].flatMap((n) => [`imsic${n}`, `vcpu${n}`, `hart${n}`, `clint${n}`]);
    expect(await sectionsOf()).toEqual(expect.arrayContaining(numbered));
    expect(await sectionsOf()).not.toContain('hart 3');
  });

  it('stands still while it is paused, over an update, too', async () => {
    await goesOn();
    await qmp.execute('stop');
    const { vcpus } = (await qmp.execute('x-stats')) as { vcpus: readonly unknown[] };
    expect(vcpus).toHaveLength(3);
    expect(await update()).toMatchObject({ status: 'completed' });
    expect(await qmp.execute('x-stats')).toMatchObject({ vcpus });
    await qmp.execute('cont');
    await goesOn();
  });

  it('begins anew after a reset', async () => {
    await goesOn();
    vmm.output = '';
    await qmp.execute('system_reset');
    await vmm.prints(/^@smp harts 3\n@smp round 1\n@smp round 2$/m);
  });

  it('runs on here when the successor cannot take it', async () => {
    await goesOn();
    expect(await update({ node: '/bin/false' }).catch((error: Error) => error)).not.toMatchObject({
      status: 'completed',
    });
    await goesOn();
  });
});

describe('a guest on two harts whose VMM is killed', () => {
  beforeEach(() => start('-smp', '2', '--guardian', 'always'));

  it('is taken over with both as they were at one moment', async () => {
    await standingGuardian(qmp, TIMEOUT_MS);
    await goesOn();
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(vmm.pid, 'SIGKILL');
    await taken;
    await goesOn();
  });
});
