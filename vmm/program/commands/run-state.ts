/** Commands that ask for the run state or change it. */
import { action, type CommandSpec, command } from '../../monitor/command.ts';
import { bool, enumOf, NOTHING, object } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';

const STATUS = object({ status: enumOf('running', 'paused', 'shutdown'), running: bool });

export function runStateCommands(vm: Vm, emit: (event: string) => void): Readonly<Record<string, CommandSpec>> {
  return {
    'query-status': command({
      args: NOTHING,
      returns: STATUS,
      run: () => ({ status: vm.runState, running: vm.runState === 'running' }),
    }),
    stop: action(() => vm.pause()),
    cont: action(() => vm.resume()),
    system_reset: action(() => vm.systemReset()),
    /**
     * The `virt` machine has no power button that this guest could see: there is only the event.
     */
    system_powerdown: action(() => emit('POWERDOWN')),
    quit: action(() => void setImmediate(() => vm.shutdown(0, 'host-qmp-quit'))), // after the answer
  };
}
