/**
 * Migration as QEMU's clients drive it: `migrate` begins an update of this VMM. What QEMU has and
 * is not declared here is refused as unknown: docs/qmp.md.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { ebusy, einval, eopnotsupp } from '../../../platform/errno.ts';
import {
  CHANNELS,
  type Destination,
  destinationOf,
  formatAddress,
  socketsOf,
} from '../../live-update/migration/channels.ts';
import type { DmaOfDevice } from '../../live-update/migration/dma.ts';
import { execTarget } from '../../live-update/migration/exec-command.ts';
import type { Course, Migration } from '../../live-update/migration/migration.ts';
import { MODES } from '../../live-update/migration/state.ts';
import type { LiveUpdate, UpdateTarget } from '../../live-update/update.ts';
import { action, type CommandSpec, command } from '../../monitor/command.ts';
import { arrayOf, bool, enumOf, int, NOTHING, number, object, type Qapi, str } from '../../monitor/qapi.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import type { Vm } from '../../vm/vm.ts';
import { MIGRATION_STATUS, UPDATE_REPORT } from '../events.ts';

const MODE = enumOf(...MODES);
const PARAMETERS = object({}, { mode: MODE, 'cpr-exec-command': arrayOf(str) });
const CAPABILITY = object({ capability: enumOf('events'), state: bool });

const DMA_WINDOW = object({ ms: number, transactions: int, bytes: int });
const DMA = object({ bdf: str, before: DMA_WINDOW, during: DMA_WINDOW, after: DMA_WINDOW });
const INFO = object(
  {},
  {
    status: MIGRATION_STATUS,
    'total-time': int,
    downtime: int,
    'setup-time': int,
    'error-desc': str,
    'blocked-reasons': arrayOf(str),
    /** What the update has cost, as in LIVE_UPDATE, and what the devices did meanwhile. */
    'x-live-update': object({ dma: arrayOf(DMA) }, UPDATE_REPORT),
  },
);

export interface MigrationParts {
  readonly vm: Vm;
  readonly update: LiveUpdate;
  readonly migration: Migration;
}

export function migrationCommands(parts: MigrationParts): Readonly<Record<string, CommandSpec>> {
  const { vm, update, migration } = parts;
  return {
    'query-migrate-parameters': command({
      args: NOTHING,
      returns: PARAMETERS,
      run: () => ({ mode: migration.mode, 'cpr-exec-command': migration.execCommand }),
    }),
    'migrate-set-parameters': command({
      args: PARAMETERS,
      returns: NOTHING,
      run({ mode, 'cpr-exec-command': execCommand }) {
        migration.mode = mode ?? migration.mode;
        migration.execCommand = execCommand ?? migration.execCommand;
        return {};
      },
    }),
    'query-migrate-capabilities': command({
      args: NOTHING,
      returns: arrayOf(CAPABILITY),
      run: () => [{ state: migration.events, capability: 'events' as const }],
    }),
    'migrate-set-capabilities': command({
      args: object({ capabilities: arrayOf(CAPABILITY) }),
      returns: NOTHING,
      run({ capabilities }) {
        checkIdle(migration);
        for (const { state } of capabilities) migration.events = state;
        return {};
      },
    }),
    migrate: command({
      args: object({}, { uri: str, channels: CHANNELS, resume: bool }),
      returns: NOTHING,
      run({ resume = false, ...given }) {
        const destination = destinationOf(given);
        checkIdle(migration);
        if (resume) throw einval('Cannot resume if there is no paused migration');
        const run = update.begin(targetOf(destination, parts));
        setImmediate(() => void run()); // after the answer
        return {};
      },
    }),
    migrate_cancel: action(() => update.cancel()),
    'query-migrate': command({ args: NOTHING, returns: INFO, run: () => infoOf(migration, vm) }),
  };
}

function checkIdle(migration: Migration): void {
  if (migration.running) throw ebusy("There's a migration process in progress");
}

/** What `migrate` begins. EINVAL, EOPNOTSUPP: nothing, and why. */
function targetOf(destination: Destination, { vm, migration }: MigrationParts): UpdateTarget {
  const [blocked] = blockedReasons(migration, vm);
  if (blocked !== undefined) throw eopnotsupp(blocked);
  if (migration.mode === 'cpr-transfer') return { mode: 'transfer', channels: socketsOf(destination) };
  const { main } = destination;
  if (migration.execCommand.length === 0) throw einval('cpr-exec mode requires setting cpr-exec-command');
  if (main.transport !== 'file') throw einval(`cpr-exec mode: give file:PATH, not ${formatAddress(main)}`);
  return execTarget(migration.execCommand, { entry: process.argv[1]!, options: vm.parts.options, main });
}

function blockedReasons({ mode }: Migration, { parts: { host } }: Vm): string[] {
  if (mode === 'normal')
    return ['mode normal: this VMM cannot copy RAM to another machine; set mode to cpr-exec or cpr-transfer'];
  try {
    host?.container.checkUpdatable();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

function infoOf(migration: Migration, vm: Vm): Qapi<typeof INFO> {
  const reasons = blockedReasons(migration, vm);
  return {
    ...(migration.course ? courseOf(migration.course) : {}),
    ...(reasons.length === 0 ? {} : { 'blocked-reasons': reasons }),
  };
}

const ms = (fromNs: number, toNs: number): number => Math.round((toNs - fromNs) / 1e6);

/** Which members there are depends on the status, as in QEMU. */
function courseOf({ status, error, report, dma = [], ...times }: Course): Qapi<typeof INFO> {
  if (status === 'failed') return { status, ...(error === undefined ? {} : { 'error-desc': error }) };
  return { status, ...timesOf(times), ...(report ? costOf(report, dma) : {}) };
}

function timesOf({ begunNs, activeNs, endedNs }: Pick<Course, 'begunNs' | 'activeNs' | 'endedNs'>) {
  if (begunNs === undefined || activeNs === undefined) return {};
  return { 'total-time': ms(begunNs, endedNs ?? monotonicNs()), 'setup-time': ms(begunNs, activeNs) };
}

function costOf(report: JsonObject, dma: readonly DmaOfDevice[]) {
  const { status: _, ...cost } = report;
  return { downtime: Math.round(Number(report.pauseMs)), 'x-live-update': { ...cost, dma } };
}
