import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

import type { QmpEvent } from '../../../tools/clients/qmp-client.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { SchemaCheck } from '../monitor/schema-check.ts';

/** What a VMM says of its commands and events is what it does. */

const documented = readFileSync(new URL('../../../docs/qmp.md', import.meta.url), 'utf8');

const demo = DemoVmm.forEachTest();

/**
 * Commands that are not to be tried here: they end the VMM or begin an update, or refuse a guest
 * that does not outlive its host's kernel.
 */
const UNTRIED = ['qmp_capabilities', 'quit', 'live-update', 'migrate', 'x-kexec-save', 'x-kexec-cancel'];

it('every command is in the schema, and answers as the schema says', async () => {
  const check = new SchemaCheck((await demo.qmp.execute('query-qmp-schema')) as object[]);
  expect(check.dangling).toEqual([]);
  const names = ((await demo.qmp.execute('query-commands')) as { name: string }[]).map(({ name }) => name);
  expect(check.names).toEqual(expect.arrayContaining(names));
  expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
  for (const name of names.filter((name) => !UNTRIED.includes(name) && check.fits(name, 'arg-type', {}))) {
    const answer = await demo.qmp.execute(name);
    expect([name, check.fits(name, 'ret-type', answer)]).toEqual([name, true]);
  }
  await demo.qmp.execute('cont');
});

it('every event is in the schema, with the data that the schema says', async () => {
  const check = new SchemaCheck((await demo.qmp.execute('query-qmp-schema')) as object[]);
  const events: QmpEvent[] = [];
  demo.qmp.listen((event) => events.push(event));
  await demo.qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  await demo.qmp.execute('stop');
  await demo.qmp.execute('cont');
  await demo.qmp.execute('system_reset');
  await demo.qmp.execute('system_powerdown');
  await demo.update();
  const info = await demo.qmp.execute('query-migrate');
  expect([info, check.fits('query-migrate', 'ret-type', info)]).toEqual([info, true]);
  await demo.update({ node: '/bin/false' });
  const migrated = await demo.qmp.execute('query-migrate');
  expect([migrated, check.fits('query-migrate', 'ret-type', migrated)]).toEqual([migrated, true]);
  await Promise.all([demo.qmp.nextEvent(({ event }) => event === 'SHUTDOWN', 5000), demo.qmp.execute('quit')]);
  const seen = new Set(events.map(({ event }) => event));
  expect([...seen].toSorted()).toEqual([
    'LIVE_UPDATE',
    'MIGRATION',
    'POWERDOWN',
    'RESET',
    'RESUME',
    'SHUTDOWN',
    'STOP',
  ]);
  for (const { event, data } of events) {
    expect([event, data, check.fits(event, 'arg-type', data)]).toEqual([event, data, true]);
  }
});
