/**
 * The monitor's commands. A command that QEMU has is answered as QEMU answers it (docs/qmp.md); x-
 * commands and live-update are ours.
 */
import { ebusy } from '../../../platform/errno.ts';
import type { Migration } from '../../live-update/migration/migration.ts';
import type { StandingGuardian } from '../../live-update/standby/standing-guardian.ts';
import type { LiveUpdate } from '../../live-update/update.ts';
import { action, CommandSet, type CommandSpec, command } from '../../monitor/command.ts';
import { versionInfo } from '../../monitor/monitor.ts';
import { NEGOTIATION } from '../../monitor/negotiation.ts';
import { int, NOTHING, object, str } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';
import { EVENTS } from '../events.ts';
import { factCommands } from './facts.ts';
import { kexecCommands } from './kexec.ts';
import { liveUpdateCommands } from './live-update.ts';
import { migrationCommands } from './migration.ts';
import { replayCommands } from './replay.ts';
import { runStateCommands } from './run-state.ts';

const VERSION_INFO = object({ qemu: object({ major: int, minor: int, micro: int }), package: str });

export interface CommandParts {
  readonly vm: Vm;
  readonly update: LiveUpdate;
  readonly migration: Migration;
  /** With `--guardian always`. */
  readonly standing: StandingGuardian | undefined;
}

export function commandsOf(parts: CommandParts, emit: (event: string) => void): CommandSet {
  const { vm, update, standing } = parts;
  return new CommandSet(
    whileGuestIsHere(update, {
      qmp_capabilities: { ...action(() => {}), ...NEGOTIATION }, // the connection answers it
      'query-version': command({ args: NOTHING, returns: VERSION_INFO, run: versionInfo }),
      ...runStateCommands(parts, emit),
      ...liveUpdateCommands(update),
      ...migrationCommands(parts),
      ...factCommands(vm, standing),
      ...replayCommands(vm),
      ...kexecCommands(parts),
    }),
    EVENTS,
  );
}

/** Commands that need no guest. */
const LASTING: readonly string[] = ['qmp_capabilities', 'query-version', 'query-status', 'query-migrate', 'quit'];

/** Refuses the other commands when another process has the guest. */
function whileGuestIsHere(
  update: LiveUpdate,
  commands: Readonly<Record<string, CommandSpec>>,
): Readonly<Record<string, CommandSpec>> {
  const guarded = Object.entries(commands).map(([name, spec]): [string, CommandSpec] => {
    if (LASTING.includes(name)) return [name, spec];
    const execute: CommandSpec['execute'] = async (args) => {
      if (update.movedTo !== undefined) throw ebusy(`process ${update.movedTo} has the guest`);
      return spec.execute(args);
    };
    return [name, { ...spec, execute }];
  });
  return Object.fromEntries(guarded);
}
