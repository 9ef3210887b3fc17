import { beforeEach, describe, expect, it } from 'vitest';

import { Migration, type Status } from '../../../../vmm/live-update/migration/migration.ts';
import { MIGRATION_STATE } from '../../../../vmm/live-update/migration/state.ts';

let migration: Migration;
const told: Status[] = [];

function next(before?: Migration): Migration {
  const after = new Migration(before && MIGRATION_STATE(JSON.parse(JSON.stringify(before.save())), 'migration'));
  after.listen((status) => told.push(status));
  return after;
}

beforeEach(() => {
  told.length = 0;
  migration = next();
});

describe('the course of an update', () => {
  it('is unknown before the first one, which nothing tells of unless events are wanted', () => {
    expect(migration.course).toBeUndefined();
    migration.begin();
    migration.active();
    expect(migration.course?.status).toBe('active');
    expect(told).toEqual([]);
  });

  it('goes on in the new image, with the times of the old one', () => {
    migration.events = true;
    migration.begin();
    migration.active();
    migration.device();
    const { begunNs, activeNs } = migration.course!;
    const after = next(migration);
    expect(after.running).toBe(true);
    expect(after.course).toEqual({ status: 'device', begunNs, activeNs });
    after.reported({ status: 'completed', pauseMs: 3 }, []);
    expect(after.course).toMatchObject({ status: 'completed', begunNs, activeNs, report: { pauseMs: 3 } });
    expect(after.course!.endedNs).toBeGreaterThanOrEqual(activeNs!);
    expect(after.running).toBe(false);
    expect(told).toEqual(['setup', 'active', 'device', 'completed']);
  });

  it('ends in failed with the reason, or in cancelled', () => {
    migration.events = true;
    migration.begin();
    migration.failed('no luck');
    expect(migration.course).toEqual({ status: 'failed', error: 'no luck' });
    migration.begin();
    expect(migration.course?.error).toBeUndefined();
    migration.cancelling();
    expect(migration.running).toBe(true);
    migration.failed('cancelled');
    expect(migration.course).toEqual({ status: 'cancelled' });
    expect(told).toEqual(['setup', 'failed', 'setup', 'cancelling', 'cancelled']);
  });

  it('ends in failed, too, where another image began it and could not end it', () => {
    migration.begin();
    migration.active();
    const after = next(migration);
    after.reported({ status: 'failed', error: 'the new image died' }, []);
    expect(after.course).toEqual({ status: 'failed', error: 'the new image died' });
  });

  it('completes without times after an update from a build that did not tell them', () => {
    migration.reported({ status: 'completed', pauseMs: 3 }, []);
    expect(migration.course).toMatchObject({ status: 'completed', report: { pauseMs: 3 } });
    expect(migration.course).not.toHaveProperty('begunNs');
  });
});

it('parameters and capabilities survive', () => {
  expect(next(migration)).toMatchObject({ mode: 'normal', execCommand: [], events: false });
  migration.mode = 'cpr-exec';
  migration.execCommand = ['node', 'vmm.cjs'];
  migration.events = true;
  expect(next(migration)).toMatchObject({ mode: 'cpr-exec', execCommand: ['node', 'vmm.cjs'], events: true });
  expect(next(migration).course).toBeUndefined();
});
