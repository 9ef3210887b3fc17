/**
 * The monitor's commands. A command that QEMU has is answered as QEMU answers it (docs/qmp.md); x-
 * commands and live-update are ours.
 */
import type { Migration } from '../../live-update/migration/migration.ts';
import type { LiveUpdate } from '../../live-update/update.ts';
import { action, CommandSet, command } from '../../monitor/command.ts';
import { versionInfo } from '../../monitor/monitor.ts';
import { NEGOTIATION } from '../../monitor/negotiation.ts';
import { int, NOTHING, object, str } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';
import { EVENTS } from '../events.ts';
import { factCommands } from './facts.ts';
import { liveUpdateCommands } from './live-update.ts';
import { migrationCommands } from './migration.ts';
import { runStateCommands } from './run-state.ts';

const VERSION_INFO = object({ qemu: object({ major: int, minor: int, micro: int }), package: str });

export interface CommandParts {
  readonly vm: Vm;
  readonly update: LiveUpdate;
  readonly migration: Migration;
}

export function commandsOf(parts: CommandParts, emit: (event: string) => void): CommandSet {
  const { vm, update } = parts;
  return new CommandSet(
    {
      qmp_capabilities: { ...action(() => {}), ...NEGOTIATION }, // the connection answers it
      'query-version': command({ args: NOTHING, returns: VERSION_INFO, run: versionInfo }),
      ...runStateCommands(vm, emit),
      ...liveUpdateCommands(update),
      ...migrationCommands(parts),
      ...factCommands(vm),
    },
    EVENTS,
  );
}
