import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { programPath } from '../../../tools/launch/programs.ts';
import type { UpdateForecast } from '../../../vmm/live-update/cost.ts';
import { isTurn } from '../../turn.ts';
import { buildIn, nodeThat, patch } from '../successors.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/**
 * Updates between this build and one that knows only version 1 of section update, as 0.1.0 does.
 * Both directions are real.
 */

const TIMEOUT_MS = 90_000;
const PROBATION_MS = 50;
const PROGRAMS = ['vmm.code.cjs', 'vmm-snapshot.cjs'];
/** The declaration of section update, with its conversions. */
const DECLARATION = /defineSection\("update", 2, \{[\s\S]*?write: .*\}\);/;
/** Version 1 as 0.1.0 reads and writes it. */
const OLDER = `Object.assign(defineSection("update", 1, FIELDS_OF_VERSION_1), {
  of: ({ stamps, fds }) => ({ version: 1, stamps, fds }),
});`;

let folder: string;
let older: string;
let vmm: VmmProcess;
let qmp: QmpClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-older-'));
  older = buildIn(folder);
  patch(older, PROGRAMS, DECLARATION, OLDER);
  patch(older, PROGRAMS, /STANDBY_PROTOCOL = \d+/, 'STANDBY_PROTOCOL = -1'); // it knows no guardian
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await vmm.monitor();
});

afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
  rmSync(folder, { recursive: true });
});

async function update(args: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
  const [{ data }] = await Promise.all([
    qmp.nextEvent(updateEnded, TIMEOUT_MS),
    qmp.execute('live-update', { probation: PROBATION_MS, ...args }),
  ]);
  return data;
}

async function verdicts(args: Readonly<Record<string, unknown>>): Promise<UpdateForecast['sections']> {
  const { sections } = (await qmp.execute('query-live-update', args)) as UpdateForecast;
  return sections.filter(({ verdict }) => verdict !== 'same');
}

/** Both builds know later versions of these. */
const others = [
  { name: 'vfio', verdict: 'converted', reason: 'version 1 becomes version 4' },
  { name: 'pci', verdict: 'converted', reason: 'version 1 becomes version 3' },
];

describe('a guest', () => {
  it('goes to an older build only in the form of that build, and comes back', { timeout: 180_000 }, async () => {
    const refusal = 'section update: version 2, this build knows 1';
    expect(await verdicts({ to: older })).toEqual([{ name: 'update', verdict: 'refused', reason: refusal }]);
    expect(await update({ to: older })).toMatchObject({ status: 'failed', error: expect.stringContaining(refusal) });

    const written = { name: 'update', verdict: 'converted', reason: 'is written as version 1' };
    expect(await verdicts({ to: older, as: '0.1.0' })).toEqual([written, ...others]);
    const { doubts } = (await qmp.execute('query-live-update', { to: older, as: '0.1.0' })) as UpdateForecast;
    expect(doubts).toEqual([
      expect.stringMatching(/^nobody could take the guest back if the new image failed: the succ/),
    ]);
    const told = qmp.nextEvent(({ data }) => Array.isArray(data?.doubts), TIMEOUT_MS);
    const before = await vmm.stats();
    expect(await update({ to: older, as: '0.1.0' })).toMatchObject({ status: 'completed', generation: 1 });

    expect((await told).data).toEqual({ status: 'started', doubts });
    const to = join(programPath('vmm'), '..');
    const read = { name: 'update', verdict: 'converted', reason: 'version 1 becomes version 2' };
    expect(await verdicts({ to })).toEqual([read]);
    expect(await update({ to })).toMatchObject({ status: 'completed', generation: 2 });
    expect(await verdicts({})).toEqual([]);
    const after = await vmm.stats();
    expect(after.heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(after.framesLost).toBe(0);
  });

  it.runIf(isTurn(0, 2))('runs on in a build that knows the guardian and was not told of it', async () => {
    expect(await update({ as: '0.1.0' })).toMatchObject({ status: 'completed', generation: 1 });
    await vmm.stats();
    // a guardian that nobody commits to takes the guest back while the next one is prepared
    expect(await update({ node: nodeThat(join(folder, 'node'), 'sleep 11') })).toMatchObject({
      status: 'failed',
      error: expect.stringContaining('does not answer'),
    });
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 1, pid: vmm.pid });
    await vmm.stats();
  });

  it('can be written in the form of a release that the other build need not be, but in no unknown one', async () => {
    await expect(qmp.execute('live-update', { as: '9.9.9' })).rejects.toThrow(
      "no form of the state as '9.9.9': this build knows 0.1.0",
    );
    // this build reads the older form, too
    expect(await verdicts({ as: '0.1.0' })).toEqual([
      { name: 'update', verdict: 'converted', reason: 'version 1 becomes version 2' },
      ...others,
    ]);
  });
});
