import { afterEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { inTurn } from '../../turn.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/**
 * Every command at every moment of a VM's life does right or is refused in words; none is left
 * without an answer.
 */

const COMMANDS = [
  'query-status',
  'query-version',
  'query-commands',
  'x-stats',
  'x-interrupts',
  'x-ram-hash',
  'stop',
  'cont',
  'system_reset',
  'system_powerdown',
  'live-update',
  'no-such-command',
];
const ANSWER_MS = 30_000;

let vmm: VmmProcess;
const clients: QmpClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  expect(await vmm.end()).toEqual([]);
});

async function client(): Promise<QmpClient> {
  const qmp = await vmm.monitor();
  clients.push(qmp);
  return qmp;
}

/** Resolves when the next update has ended, in one way or the other. */
const ended = (qmp: QmpClient): Promise<unknown> => qmp.nextEvent(updateEnded, ANSWER_MS);

interface Moment {
  /** Resolves when the update that is under way has ended. */
  readonly update?: Promise<unknown>;
  /** That update is the last one until it has ended. */
  readonly refusesMore?: boolean;
}

/** Brings the VM to a moment. */
const MOMENTS: Readonly<Record<string, (qmp: QmpClient) => Promise<Moment>>> = {
  'as soon as the monitor listens': async () => ({}),
  'while the guest runs': async () => {
    await vmm.prints(/demo/);
    return {};
  },
  'while the guest is stopped': async (qmp) => {
    await qmp.execute('stop');
    return {};
  },
  'while an update is prepared': async (qmp) => {
    const update = ended(qmp);
    await qmp.execute('live-update');
    return { update, refusesMore: true };
  },
  'while the threads of a new image start': async (qmp) => {
    const update = ended(qmp);
    const resumed = qmp.nextEvent(({ event }) => event === 'RESUME', ANSWER_MS);
    await qmp.execute('live-update');
    await resumed;
    return { update }; // the new image begins its own update when this one is complete
  },
};

describe.each(inTurn(Object.entries(MOMENTS), 3))('%s', (_, reach) => {
  it('every command is answered, and the VM is well afterwards', async () => {
    vmm = new VmmProcess('demo');
    const qmp = await client();
    const others = await Promise.all(COMMANDS.map(() => client()));
    const { update, refusesMore = false } = await reach(qmp);
    const next = refusesMore ? undefined : (update ?? Promise.resolve()).then(() => ended(qmp));
    const outcomes = await Promise.all(
      others.map((other, i) =>
        other.execute(COMMANDS[i]!, undefined, ANSWER_MS).then(
          () => 'done',
          (error: Error) => error.message,
        ),
      ),
    );
    const told = Object.fromEntries(COMMANDS.map((command, i) => [command, outcomes[i]]));
    expect(told).toEqual({
      ...Object.fromEntries(COMMANDS.map((command) => [command, 'done'])),
      'x-ram-hash': expect.stringMatching(/^done$|^the VMM is being replaced/),
      'live-update': refusesMore ? 'an update is under way' : 'done',
      'no-such-command': 'The command no-such-command has not been found',
    });
    await Promise.all([update, next]);

    await qmp.execute('cont');
    expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    const [again] = await Promise.all([qmp.nextEvent(updateEnded, ANSWER_MS), qmp.execute('live-update')]);
    expect(again.data).toMatchObject({ status: 'completed' });
  });
});

describe('while the VM ends', () => {
  it('every command is answered or its connection closed', async () => {
    vmm = new VmmProcess('demo');
    const qmp = await client();
    const others = await Promise.all(COMMANDS.map(() => client()));
    const quit = qmp.execute('quit');
    const outcomes = others.map((other, i) => other.execute(COMMANDS[i]!, undefined, ANSWER_MS));
    for (const outcome of await Promise.allSettled(outcomes)) {
      if (outcome.status === 'rejected') {
        expect((outcome.reason as Error).message).toMatch(
          /closed its monitor|not been found|the VM is ending|the VM has ended/,
        );
      }
    }
    await quit;
    expect(await vmm.exited).toEqual([0, null]);
    expect(vmm.errors).toBe('');
  });
});
