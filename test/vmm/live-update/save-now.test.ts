import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { decodeState } from '../../../vmm/live-update/state-file.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/** The state of a VMM that is not being updated, by `x-state`. */

let vmm: VmmProcess;
let qmp: QmpClient;

beforeEach(async () => {
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await vmm.monitor();
});

afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
});

async function state(client = qmp): Promise<Buffer> {
  const { state } = (await client.execute('x-state')) as { state: string };
  return Buffer.from(state, 'base64');
}

describe('x-state', () => {
  it('is the same as long as the guest is paused, and does not let it run', async () => {
    const running = decodeState(await state()).sections;
    const { heartbeats } = await vmm.stats();
    await vi.waitFor(async () => expect((await vmm.stats()).heartbeats).not.toBe(heartbeats));
    await qmp.execute('stop');
    const first = await state();
    expect(await state()).toEqual(first);
    const { sections } = decodeState(first);
    expect([...sections.keys()]).not.toContain('update');
    expect([...sections.keys()]).not.toContain('monitor');
    expect(sections.get('vm')).toMatchObject({ paused: true });
    expect(running.get('vm')).toMatchObject({ paused: false });
    expect(sections.get('hart')).not.toEqual(running.get('hart'));
    expect(await qmp.execute('query-status')).toMatchObject({ status: 'paused' });
    await qmp.execute('cont');
    await vmm.stats();
  });

  it('tells no STOP, and lets the guest run on between many askers, and in an update', async () => {
    const events: string[] = [];
    qmp.listen(({ event }) => events.push(event));
    const other = await vmm.monitor();
    const before = await vmm.stats();
    const asked = await Promise.all(Array.from({ length: 20 }, (_, i) => state(i % 2 === 0 ? qmp : other)));
    expect(asked.map((bytes) => decodeState(bytes).sections.size)).toEqual(Array(20).fill(11));
    expect(events).toEqual([]);
    expect((await vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);

    const ended = qmp.nextEvent(updateEnded, 90_000);
    await qmp.execute('live-update');
    for (let asking = 0; asking < 5; asking++) await state(other).catch(() => undefined); // the update may answer first
    expect((await ended).data).toMatchObject({ status: 'completed' });
    expect(decodeState(await state(other)).sections.get('vm')).toMatchObject({ generation: 1 });
    other.close();
    await vmm.stats();
  });
});
