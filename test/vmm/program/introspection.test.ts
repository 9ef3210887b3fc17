import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';

import type { QmpClient, QmpEvent } from '../../../tools/clients/qmp-client.ts';
import { SchemaCheck } from '../monitor/schema-check.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/** What a VMM says of its commands and events is what it does. */

const documented = readFileSync(new URL('../../../docs/qmp.md', import.meta.url), 'utf8');

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

/** Commands that are not to be tried here: they end the VMM or begin an update. */
const UNTRIED = ['qmp_capabilities', 'quit', 'live-update', 'migrate'];

it('every command is in the schema, and answers as the schema says', async () => {
  const check = new SchemaCheck((await qmp.execute('query-qmp-schema')) as object[]);
  expect(check.dangling).toEqual([]);
  const names = ((await qmp.execute('query-commands')) as { name: string }[]).map(({ name }) => name);
  expect(check.names).toEqual(expect.arrayContaining(names));
  expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
  for (const name of names.filter((name) => !UNTRIED.includes(name) && check.fits(name, 'arg-type', {}))) {
    const answer = await qmp.execute(name);
    expect([name, check.fits(name, 'ret-type', answer)]).toEqual([name, true]);
  }
  await qmp.execute('cont');
});

it('every event is in the schema, with the data that the schema says', async () => {
  const check = new SchemaCheck((await qmp.execute('query-qmp-schema')) as object[]);
  const events: QmpEvent[] = [];
  qmp.listen((event) => events.push(event));
  await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  await qmp.execute('stop');
  await qmp.execute('cont');
  await qmp.execute('system_reset');
  await qmp.execute('system_powerdown');
  await Promise.all([qmp.nextEvent(updateEnded, 90_000), qmp.execute('live-update')]);
  const info = await qmp.execute('query-migrate');
  expect([info, check.fits('query-migrate', 'ret-type', info)]).toEqual([info, true]);
  const failed = qmp.nextEvent(updateEnded, 90_000);
  await qmp.execute('live-update', { node: '/bin/false' });
  await failed;
  const migrated = await qmp.execute('query-migrate');
  expect([migrated, check.fits('query-migrate', 'ret-type', migrated)]).toEqual([migrated, true]);
  await Promise.all([qmp.nextEvent(({ event }) => event === 'SHUTDOWN', 5000), qmp.execute('quit')]);
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
