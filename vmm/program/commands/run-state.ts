/** Commands that ask for the run state or change it. */
import { einval } from '../../../platform/errno.ts';
import type { LiveUpdate } from '../../live-update/update.ts';
import { action, type CommandSpec, command } from '../../monitor/command.ts';
import { bool, enumOf, NOTHING, object, type Qapi } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';

const RUN_STATE = enumOf('prelaunch', 'running', 'paused', 'internal-error', 'shutdown', 'postmigrate');
type Status = Qapi<typeof RUN_STATE>;
const STATUS = object({ status: RUN_STATE, running: bool });

export function runStateCommands(
  { vm, update }: { readonly vm: Vm; readonly update: LiveUpdate },
  emit: (event: string) => void,
): Readonly<Record<string, CommandSpec>> {
  return {
    'query-status': command({
      args: NOTHING,
      returns: STATUS,
      run() {
        const status: Status = update.movedTo === undefined ? vm.runState : 'postmigrate';
        return { status, running: status === 'running' };
      },
    }),
    stop: action(() => vm.pause()),
    cont: action(() => vm.resume()),
    system_reset: action(() => {
      if (vm.parts.backends.recording?.mode === 'replay')
        throw einval('the guest is replayed: its resets are recorded');
      return vm.systemReset();
    }),
    /**
     * The `virt` machine has no power button that this guest could see: there is only the event.
     */
    system_powerdown: action(() => emit('POWERDOWN')),
    quit: action(() => void setImmediate(() => vm.shutdown(0, 'host-qmp-quit'))), // after the answer
  };
}
