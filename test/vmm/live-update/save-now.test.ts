import { describe, expect, it } from 'vitest';

import { decodeState } from '../../../vmm/live-update/state-file.ts';
import { DemoVmm } from '../demo-vmm.ts';

/** The state of a VMM that is not being updated, by `x-state`. */

const demo = DemoVmm.forEachTest();

async function state(client = demo.qmp): Promise<Buffer> {
  const { state } = (await client.execute('x-state')) as { state: string };
  return Buffer.from(state, 'base64');
}

describe('x-state', () => {
  it('is the same as long as the guest is paused, and does not let it run', async () => {
    const running = decodeState(await state()).sections;
    await demo.vmm.stats(); // the guest runs: it may have slept
    await demo.qmp.execute('stop');
    const { sections } = decodeState(await state());
    expect(decodeState(await state()).sections).toEqual(sections);
    expect([...sections.keys()]).not.toContain('update');
    expect([...sections.keys()]).not.toContain('monitor');
    expect(sections.get('vm')).toMatchObject({ paused: true });
    expect(running.get('vm')).toMatchObject({ paused: false });
    expect(sections.get('hart')).not.toEqual(running.get('hart'));
    expect(await demo.qmp.execute('query-status')).toMatchObject({ status: 'paused' });
    await demo.qmp.execute('cont');
    await demo.vmm.stats();
  });

  it('tells no STOP, and lets the guest run on between many askers, and in an update', async () => {
    const other = await demo.vmm.monitor();
    const before = await demo.vmm.stats();
    const asked = await Promise.all(Array.from({ length: 20 }, (_, i) => state(i % 2 === 0 ? demo.qmp : other)));
    expect(asked.map((bytes) => decodeState(bytes).sections.size)).toEqual(Array(20).fill(11));
    expect(demo.events).toEqual([]);
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);

    const ended = demo.updateEnds();
    await demo.qmp.execute('live-update');
    for (let asking = 0; asking < 5; asking++) await state(other).catch(() => undefined); // the update may answer first
    expect((await ended).data).toMatchObject({ status: 'completed' });
    expect(decodeState(await state(other)).sections.get('vm')).toMatchObject({ generation: 1 });
    other.close();
    await demo.vmm.stats();
  });
});
